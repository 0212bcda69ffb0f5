import type { z } from 'zod'
import type { AuthPolicy } from '../domain/auth-policy.ts'
import type { DelegationLimits } from '../domain/delegation.ts'
import type { DelegationRights } from '../domain/gateway.ts'
import { type KnownScopes, PLATFORM_SCOPES } from '../domain/scope.ts'
import type { Token } from '../domain/token.ts'
import type { Fernet } from '../lib/fernet.ts'
import type { PostgresUrl } from '../lib/postgres-url.ts'
import type { RedisUrl } from '../lib/redis-url.ts'
import type { Secret } from '../lib/secret.ts'
import { type ParsedPolicies, parsePolicies } from './auth-policies.ts'
import { ConfigError } from './config-error.ts'
import { findScopeNeverGiven, findUnlistedService } from './delegation.ts'
import { type Environment, findGivenSettings, isProduction, settingGivenBy } from './given-settings.ts'
import { findUnknownScope } from './scopes.ts'
import { type LOG_LEVELS, settingsOf } from './settings.ts'

export type TokenStoreKind = 'redis' | 'postgres'

/** All settings. Durations are in seconds. */
export interface Config {
  readonly isProduction: boolean
  readonly databaseUrl: Secret<PostgresUrl>
  readonly redisUrl: Secret<RedisUrl> | undefined
  /** How far the data of a Redis that restarted or took over may lag behind its last use. */
  readonly redisReplayWindow: number
  /** Number of replicas that must have a change of a record before the change is acknowledged. */
  readonly redisWaitReplicas: number
  readonly tokenStore: TokenStoreKind
  readonly encryption: Fernet
  readonly bootstrapToken: Secret<Token> | undefined
  readonly tokenLifetime: number
  readonly delegatedTokenLifetime: number
  readonly knownScopes: KnownScopes
  readonly delegationLimits: DelegationLimits
  readonly delegationRights: DelegationRights
  /** Whether internal and notebook tokens may create and modify tokens. */
  readonly delegatedTokensMayCreate: boolean
  readonly historyRetention: number
  /** Capacity of each of the two caches, in cache entries. */
  readonly tokenCacheSize: number
  /** Whether records are kept in a client-side cache, which Redis invalidates. */
  readonly clientSideCache: boolean
  /** Addresses and CIDR blocks of the proxies whose `X-Forwarded-For` is trusted. */
  readonly trustedProxies: readonly string[]
  /** Maximum number of failed authentications per address and minute; 0 for no limit. */
  readonly authFailuresPerMinute: number
  /** URL at which clients reach Porthor, without a `/` at its end. */
  readonly publicUrl: string | undefined
  readonly host: string
  readonly port: number
  /** Port of probes and metrics; `undefined`: that of the API. */
  readonly adminPort: number | undefined
  readonly adminHost: string
  /** Time between the request to stop and the end of listening. */
  readonly shutdownDelay: number
  readonly logLevel: (typeof LOG_LEVELS)[number]
  readonly graphiql: boolean
  /** Who may query the schema: everyone (`open`), holders of a valid token (`token`), or no one (`off`). */
  readonly introspection: 'open' | 'token' | 'off'
  /** Whether an error about a document suggests names that the schema has. */
  readonly suggestions: boolean
  /** As of `dataDirOf`. */
  readonly dataDir: string
  /** `undefined`: there is no interface for gateways. */
  readonly forwardAuth: ForwardAuthConfig | undefined
}

/** Settings of the interface for gateways. */
export interface ForwardAuthConfig {
  readonly host: string
  readonly port: number
  /** By name. */
  readonly policies: ReadonlyMap<string, AuthPolicy>
  /** Whether it has Gafaelfawr's endpoint too. */
  readonly hasIngress: boolean
  /** Name of the cookie that holds the user's token; `undefined`: no cookie counts. */
  readonly sessionCookie: string | undefined
}

export { ConfigError } from './config-error.ts'
export { type Environment, isProduction } from './given-settings.ts'

type Settings = z.output<ReturnType<typeof settingsOf>>

/** Returns the directory of the generated secrets and the embedded database, as an absolute path. */
export const dataDirOf = (env: Environment): string =>
  schemaFor(isProduction(env)).shape.DATA_DIR.parse(env.DATA_DIR)

/**
 * Parses the configuration. Reads nothing but `env` and the files that it names.
 *
 * @throws {ConfigError} Names the variable of every error; never contains a secret.
 */
export function loadConfig(env: Environment): Config {
  const { texts, problems } = findGivenSettings(env)
  const { data, error } = schemaFor(isProduction(env)).safeParse(texts)
  const misread = new Set([...problems.keys()].map(settingGivenBy))
  const issues = error?.issues.filter(({ path }) => !misread.has(String(path[0]))) ?? []
  const errors = [
    ...[...problems].map(([variable, problem]) => `${variable} ${problem}`),
    ...issues.map(({ path, message }) => `${String(path[0])} ${message}`),
  ]
  if (!data || errors.length > 0) throw new ConfigError(errors)
  return Object.freeze(toConfig(data, isProduction(env)))
}

/**
 * Returns the settings of an environment that are set, from their files too. A variable that gives no setting, although
 * it is meant to, is returned as it is: `loadConfig` reports it.
 */
export function settingsIn(env: Environment): Environment {
  const { texts, problems } = findGivenSettings(env)
  return {
    ...texts,
    ...Object.fromEntries([...problems.keys()].map((variable) => [variable, env[variable]])),
  }
}

/** What depends on an invalid setting is no error of its own. */
const areValid =
  (...names: readonly string[]) =>
  ({ issues }: z.core.ParsePayload): boolean =>
    !issues.some(({ path }) => names.includes(String(path?.[0])))

const tokenStoreOf = ({ TOKEN_STORE, REDIS_URL }: Settings): TokenStoreKind =>
  TOKEN_STORE ?? (REDIS_URL ? 'redis' : 'postgres')

const isTokenStoreReachable = (settings: Settings): boolean =>
  tokenStoreOf(settings) === 'postgres' || settings.REDIS_URL !== undefined

const delegatedLifetimeOf = ({ TOKEN_LIFETIME, DELEGATED_TOKEN_LIFETIME }: Settings): number =>
  DELEGATED_TOKEN_LIFETIME ?? TOKEN_LIFETIME

const isDelegatedLifetimeInParents = (settings: Settings): boolean =>
  delegatedLifetimeOf(settings) <= settings.TOKEN_LIFETIME

const undelegableScopesOf = ({ UNDELEGABLE_SCOPES }: Pick<Settings, 'UNDELEGABLE_SCOPES'>) =>
  new Set([...UNDELEGABLE_SCOPES, ...PLATFORM_SCOPES])

const delegationRightsOf = (settings: Settings): DelegationRights =>
  settings.DELEGATION === 'self'
    ? { mode: 'self' }
    : {
        mode: 'gateway',
        gateways: settings.DELEGATION_GATEWAYS,
        chains: settings.DELEGATION_CHAINS,
      }

/** With `self`, an operator who limits gateways would limit nothing. */
const areGatewaysUsed = ({ DELEGATION, DELEGATION_GATEWAYS }: Settings): boolean =>
  DELEGATION === 'gateway' || DELEGATION_GATEWAYS === undefined

const policiesIn = (settings: Settings): ParsedPolicies =>
  parsePolicies(settings.AUTH_POLICIES, {
    knownScopes: settings.KNOWN_SCOPES,
    undelegable: undelegableScopesOf(settings),
    services: settings.DELEGATION_SERVICES,
    delegatedLifetime: delegatedLifetimeOf(settings),
  })

const arePortsApart = ({ PORT, AUTH_PORT }: Settings): boolean => PORT !== AUTH_PORT || PORT === 0

const isAdminPortApart = ({ PORT, AUTH_PORT, ADMIN_PORT }: Settings): boolean =>
  !ADMIN_PORT || ![PORT, AUTH_PORT].includes(ADMIN_PORT)

/** By default it is as open as GraphiQL, which queries the schema before the user enters a token. */
function introspectionOf({ INTROSPECTION, GRAPHIQL }: Settings, isInProduction: boolean) {
  if (INTROSPECTION !== undefined) return INTROSPECTION ? 'open' : 'off'
  if (isInProduction) return 'off'
  return GRAPHIQL ? 'open' : 'token'
}

const createSchema = (isInProduction: boolean) =>
  settingsOf(isInProduction)
    .refine(isTokenStoreReachable, {
      when: areValid('TOKEN_STORE', 'REDIS_URL'),
      path: ['REDIS_URL'],
      error: 'is required where TOKEN_STORE is redis',
    })
    .refine(isDelegatedLifetimeInParents, {
      when: areValid('TOKEN_LIFETIME', 'DELEGATED_TOKEN_LIFETIME'),
      path: ['DELEGATED_TOKEN_LIFETIME'],
      error: 'must not be longer than TOKEN_LIFETIME',
    })
    .superRefine(
      ({ UNDELEGABLE_SCOPES, KNOWN_SCOPES }, { addIssue }) => {
        const message = findUnknownScope(UNDELEGABLE_SCOPES, KNOWN_SCOPES)
        if (message) addIssue({ code: 'custom', path: ['UNDELEGABLE_SCOPES'], message })
      },
      { when: areValid('UNDELEGABLE_SCOPES', 'KNOWN_SCOPES') },
    )
    .refine(areGatewaysUsed, {
      when: areValid('DELEGATION', 'DELEGATION_GATEWAYS'),
      path: ['DELEGATION_GATEWAYS'],
      error: 'has no effect unless DELEGATION is gateway',
    })
    .superRefine(
      ({ DELEGATION_SERVICES, KNOWN_SCOPES, UNDELEGABLE_SCOPES }, { addIssue }) => {
        const undelegable = undelegableScopesOf({ UNDELEGABLE_SCOPES })
        const message =
          DELEGATION_SERVICES && findScopeNeverGiven(DELEGATION_SERVICES, KNOWN_SCOPES, undelegable)
        if (message) addIssue({ code: 'custom', path: ['DELEGATION_SERVICES'], message })
      },
      { when: areValid('DELEGATION_SERVICES', 'KNOWN_SCOPES', 'UNDELEGABLE_SCOPES') },
    )
    .superRefine(
      ({ DELEGATION_GATEWAYS, DELEGATION_SERVICES }, { addIssue }) => {
        const message = DELEGATION_GATEWAYS && findUnlistedService(DELEGATION_GATEWAYS, DELEGATION_SERVICES)
        if (message) addIssue({ code: 'custom', path: ['DELEGATION_GATEWAYS'], message })
      },
      { when: areValid('DELEGATION_GATEWAYS', 'DELEGATION_SERVICES') },
    )
    .refine(arePortsApart, {
      when: areValid('PORT', 'AUTH_PORT'),
      path: ['AUTH_PORT'],
      error: 'must not be PORT: users reach the API, and only gateways may reach AUTH_PORT',
    })
    .refine(isAdminPortApart, {
      when: areValid('PORT', 'AUTH_PORT', 'ADMIN_PORT'),
      path: ['ADMIN_PORT'],
      error: 'must be neither PORT nor AUTH_PORT: leave it out to have probes and metrics on PORT',
    })
    .superRefine(
      (settings, { addIssue }) => {
        for (const message of policiesIn(settings).problems) {
          addIssue({ code: 'custom', path: ['AUTH_POLICIES'], message })
        }
      },
      {
        when: areValid(
          'AUTH_POLICIES',
          'KNOWN_SCOPES',
          'UNDELEGABLE_SCOPES',
          'DELEGATION_SERVICES',
          'TOKEN_LIFETIME',
          'DELEGATED_TOKEN_LIFETIME',
        ),
      },
    )

/** By mode. To create one takes milliseconds, and a command parses its settings several times. */
const schemas = new Map<boolean, ReturnType<typeof createSchema>>()

function schemaFor(isInProduction: boolean) {
  const schema = schemas.get(isInProduction) ?? createSchema(isInProduction)
  schemas.set(isInProduction, schema)
  return schema
}

function toConfig(settings: Settings, isInProduction: boolean): Config {
  const introspection = introspectionOf(settings, isInProduction)
  return {
    isProduction: isInProduction,
    databaseUrl: settings.DATABASE_URL,
    redisUrl: settings.REDIS_URL,
    redisReplayWindow: settings.REDIS_REPLAY_WINDOW,
    redisWaitReplicas: settings.REDIS_WAIT_REPLICAS,
    tokenStore: tokenStoreOf(settings),
    encryption: settings.SESSION_SECRET,
    bootstrapToken: settings.BOOTSTRAP_TOKEN,
    tokenLifetime: settings.TOKEN_LIFETIME,
    delegatedTokenLifetime: delegatedLifetimeOf(settings),
    knownScopes: settings.KNOWN_SCOPES,
    delegationLimits: {
      undelegableScopes: undelegableScopesOf(settings),
      services: settings.DELEGATION_SERVICES,
      maxDepth: settings.DELEGATION_MAX_DEPTH,
      maxChildren: settings.MAX_CHILDREN,
    },
    delegationRights: delegationRightsOf(settings),
    delegatedTokensMayCreate: settings.DELEGATED_TOKENS_MAY_CREATE,
    historyRetention: settings.HISTORY_RETENTION,
    tokenCacheSize: settings.TOKEN_CACHE_SIZE,
    clientSideCache: settings.CLIENT_SIDE_CACHE,
    trustedProxies: settings.TRUSTED_PROXIES,
    authFailuresPerMinute: settings.AUTH_FAILURES_PER_MINUTE,
    publicUrl: settings.PUBLIC_URL,
    host: settings.HOST,
    port: settings.PORT,
    adminPort: settings.ADMIN_PORT,
    adminHost: settings.ADMIN_HOST ?? settings.HOST,
    shutdownDelay: settings.SHUTDOWN_DELAY,
    logLevel: settings.LOG_LEVEL,
    graphiql: settings.GRAPHIQL,
    introspection,
    suggestions: introspection === 'open' || !isInProduction,
    dataDir: settings.DATA_DIR,
    forwardAuth:
      settings.AUTH_PORT === undefined
        ? undefined
        : {
            host: settings.AUTH_HOST,
            port: settings.AUTH_PORT,
            policies: policiesIn(settings).policies,
            hasIngress: settings.INGRESS_AUTH,
            sessionCookie: settings.SESSION_COOKIE,
          },
  }
}
