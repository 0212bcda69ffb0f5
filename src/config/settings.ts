import { resolve } from 'node:path'
import { z } from 'zod'
import { policyTable } from './auth-policies.ts'
import { gatewayServices, serviceScopes } from './delegation.ts'
import {
  addressBlocks,
  cookieName,
  duration,
  flag,
  host,
  integer,
  mode,
  oneOf,
  parsed,
  publicUrl,
} from './kinds.ts'
import { DEFAULT_SCOPES, DEFAULT_UNDELEGABLE, scopeDescriptions, undelegableScopes } from './scopes.ts'
import { bootstrapToken, encryptionKeys, postgresUrl, redisUrl } from './secrets.ts'
import { optional, required, withDefault } from './setting.ts'

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

/** Minimum lifetime of a token, in seconds: a shorter token could satisfy no minimum lifetime of a request. */
const MIN_TOKEN_LIFETIME_SECONDS = 600

const STORES = {
  NODE_ENV: optional(mode(), {
    defaultNote: '',
    description:
      '`production`, in full, turns on the rules for production: nothing is generated, weak secrets are refused, GraphiQL and introspection are off',
  }),
  DATABASE_URL: required(postgresUrl(), {
    isSecret: true,
    defaultNote: 'an embedded PostgreSQL; required in production',
    description:
      '`postgresql://user:password@host:port/database`, with these [parameters](../guides/postgresql.md#parameters-of-database_url)',
  }),
  REDIS_URL: optional(redisUrl(), {
    isSecret: true,
    defaultNote: 'none',
    description:
      'address of the Redis that holds the token store: one server, [Sentinel or Cluster](../guides/redis.md#address)',
  }),
  REDIS_REPLAY_WINDOW: withDefault(duration(1), {
    default: '10m',
    description:
      'maximum age of the data of a Redis that has restarted or failed over, counted from its last use. Porthor [replays](../guides/redis.md#data-that-went-back-in-time) the changes of this time',
  }),
  REDIS_WAIT_REPLICAS: withDefault(integer(0, 10), {
    default: '0',
    description:
      'number of Redis replicas that must have a creation, edit or revocation before the request succeeds (`WAIT`)',
  }),
  TOKEN_STORE: optional(oneOf(['redis', 'postgres']), {
    defaultNote: '`redis` where `REDIS_URL` is set, else `postgres`',
    description: 'where the encrypted records are',
  }),
}

const secretSettings = (isProduction: boolean) => ({
  SESSION_SECRET: required(encryptionKeys(!isProduction), {
    isSecret: true,
    defaultNote:
      'generated in `DATA_DIR/session-secret`; required in production and where `DATABASE_URL` or `REDIS_URL` is set',
    description:
      'encryption keys: the first encrypts, all decrypt. `porthor generate-secret` prints one. Production refuses a key that can be guessed',
  }),
  BOOTSTRAP_TOKEN: required(bootstrapToken(!isProduction), {
    isSecret: true,
    defaultNote: 'generated in `DATA_DIR/bootstrap-token`; required where `SESSION_SECRET` is',
    description:
      'token of the first administrator. `porthor generate-token` prints one. Production refuses a token that can be guessed. Each start logs a warning while there is one',
  }),
})

const TOKENS = {
  TOKEN_LIFETIME: withDefault(duration(MIN_TOKEN_LIFETIME_SECONDS), {
    default: '30d',
    description: 'lifetime of a session',
  }),
  DELEGATED_TOKEN_LIFETIME: optional(duration(MIN_TOKEN_LIFETIME_SECONDS), {
    defaultNote: '`TOKEN_LIFETIME`',
    description:
      'lifetime of a delegated token whose parent does not expire sooner; at most `TOKEN_LIFETIME`. Leave it unset [beside Gafaelfawr](../guides/gafaelfawr.md)',
  }),
  KNOWN_SCOPES: withDefault(scopeDescriptions(), {
    mayBeInFile: true,
    default: JSON.stringify(DEFAULT_SCOPES),
    defaultNote: Object.keys(DEFAULT_SCOPES)
      .map((scope) => `\`${scope}\``)
      .join(', '),
    description: 'scopes that tokens may have; must contain `admin:token` and `user:token`',
  }),
  UNDELEGABLE_SCOPES: withDefault(undelegableScopes(), {
    default: DEFAULT_UNDELEGABLE.join(),
    description:
      'scopes that no delegated token carries. `delegate:token` and `introspect:token` are always among them',
  }),
  DELEGATED_TOKENS_MAY_CREATE: withDefault(flag(), {
    default: 'false',
    description:
      'internal and notebook tokens may create and modify tokens. What they create expires and is revoked with them, and counts for the next two settings',
  }),
  DELEGATION_MAX_DEPTH: withDefault(integer(1, 50), {
    default: '5',
    description: 'maximum number of delegated tokens in a chain of delegations',
  }),
  MAX_CHILDREN: withDefault(integer(1, 100_000), {
    default: '1000',
    description: 'maximum number of live children of a token',
  }),
}

const DELEGATION = {
  DELEGATION: withDefault(oneOf(['self', 'gateway']), {
    default: 'self',
    description:
      'who delegates: with `self` the holder of any token, from that token; with `gateway` only [gateways](../guides/delegation.md), from the tokens of their users',
  }),
  DELEGATION_GATEWAYS: optional(gatewayServices(), {
    mayBeInFile: true,
    defaultNote: 'none: every gateway may delegate for every service',
    description:
      'the only gateways, by the usernames of their service tokens, and the services for which each may delegate. `notebook` among them allows notebook tokens',
  }),
  DELEGATION_SERVICES: optional(serviceScopes(), {
    mayBeInFile: true,
    defaultNote: 'none: any scopes for any service',
    description:
      'the only services for which internal tokens are issued, and the most scopes that each may be given',
  }),
  DELEGATION_CHAINS: withDefault(flag(), {
    default: 'false',
    description:
      'gateways may delegate from a token that is delegated itself, as that of a service or notebook that calls another service',
  }),
}

const PROCESS = {
  HISTORY_RETENTION: withDefault(duration(1), {
    default: '365d',
    description: 'minimum time for which history events are kept',
  }),
  TOKEN_CACHE_SIZE: withDefault(integer(1, 10_000_000), {
    default: '5000',
    description: 'maximum number of entries of each token cache (internal tokens, notebook tokens)',
  }),
  CLIENT_SIDE_CACHE: withDefault(flag(), {
    default: 'true',
    description:
      'each process has a client-side cache of Redis records, which Redis invalidates at every change',
  }),
}

const serverSettings = (isProduction: boolean) => ({
  TRUSTED_PROXIES: withDefault(addressBlocks(), {
    default: '',
    defaultNote: 'none',
    description:
      'the proxies whose `X-Forwarded-For` Porthor [believes](../guides/deployment.md#client-addresses)',
  }),
  AUTH_FAILURES_PER_MINUTE: withDefault(integer(0, 1_000_000), {
    default: '600',
    description:
      'maximum number of failed authentications per minute and client address (an IPv6 /64 network is one address); above it the error is `RATE_LIMITED`. 0 means no limit',
  }),
  PUBLIC_URL: optional(publicUrl(), {
    defaultNote: 'where Porthor listens; in production none',
    description:
      'URL at which clients reach Porthor: the issuer of the [OAuth endpoints](oauth.md). Without it, production has no metadata and no `iss`',
  }),
  HOST: withDefault(host(), {
    default: isProduction ? '0.0.0.0' : '127.0.0.1',
    description: 'where to listen',
  }),
  PORT: withDefault(integer(0, 65_535), {
    default: '4000',
    description: 'port to listen on; `0` selects a free one',
  }),
  ADMIN_PORT: optional(integer(0, 65_535), {
    defaultNote: 'that of the API',
    description: 'port of `/livez`, `/readyz` and `/metrics`, which are then not on the port of the API',
  }),
  ADMIN_HOST: optional(host(), {
    defaultNote: '`HOST`',
    description: 'where `ADMIN_PORT` listens',
  }),
  SHUTDOWN_DELAY: withDefault(duration(0), {
    default: isProduction ? '5s' : '0s',
    description:
      'time from a signal until the server stops listening. `/readyz` responds with 503 in that time, so that proxies send no more requests',
  }),
  LOG_LEVEL: withDefault(oneOf(LOG_LEVELS), {
    default: 'info',
    defaultNote: '`info`; `warn` for commands other than `serve`',
    description: 'minimum level of log messages',
  }),
  GRAPHIQL: withDefault(flag(), {
    default: String(!isProduction),
    description: 'a browser gets GraphiQL at `/graphql`',
  }),
  INTROSPECTION: optional(flag(), {
    defaultNote: '`true` where `GRAPHIQL` is on; in production `false`',
    description:
      'anybody may query the schema, and errors suggest names. Without it, outside production, a valid token is enough',
  }),
  DATA_DIR: withDefault(
    parsed('path', (path) => resolve(path)),
    {
      default: '.porthor',
      description: 'directory of the embedded PostgreSQL and of generated secrets; not used in production',
    },
  ),
})

const FORWARD_AUTH = {
  AUTH_PORT: optional(integer(0, 65_535), {
    defaultNote: 'none',
    description:
      'port of the [interface for gateways](forward-auth.md); `0` selects a free one. Without it the interface is off',
  }),
  AUTH_HOST: withDefault(host(), {
    default: '127.0.0.1',
    description:
      'where the interface for gateways listens. Only gateways may [reach it](../../SECURITY.md#the-interface-for-gateways)',
  }),
  AUTH_POLICIES: withDefault(policyTable(), {
    mayBeInFile: true,
    default: '{}',
    defaultNote: 'none',
    description: 'what gateways may have checked and delegated',
  }),
  INGRESS_AUTH: withDefault(flag(), {
    default: 'false',
    description: "the interface for gateways also has Gafaelfawr's endpoint `/ingress/auth`",
  }),
  SESSION_COOKIE: optional(cookieName(), {
    defaultNote: 'none',
    description:
      "name of a cookie in which a browser sends the user's token to a gateway. Gafaelfawr's is `gafaelfawr`",
  }),
}

/** The schema of all settings, by mode. Text that is empty counts as not set, as in most shells' ${NAME:-default}. */
export const settingsOf = (isProduction: boolean) =>
  z.object({
    ...STORES,
    ...secretSettings(isProduction),
    ...TOKENS,
    ...DELEGATION,
    ...PROCESS,
    ...serverSettings(isProduction),
    ...FORWARD_AUTH,
  })
