import { isIP } from 'node:net'
import proxyaddr from 'proxy-addr'
import { ConfigError } from './config-error.ts'
import type { DelegationLimits } from './domain/delegation.ts'
import { parseAddressFilter } from './domain/ip-address.ts'
import { DAY_SECONDS } from './domain/lifetime.ts'
import type { KnownScopes, UndelegableScopes } from './domain/scope.ts'
import type { Token } from './domain/token.ts'
import { parseDuration } from './lib/duration.ts'
import { parsePostgresUrl } from './lib/postgres-url.ts'
import { parseRedisUrl } from './lib/redis-url.ts'
import { Secret } from './lib/secret.ts'
import { parseKnownScopes, parseUndelegableScopes } from './scope-config.ts'
import { checkSessionSecret, parseBootstrapToken, trimSecrets } from './secret-config.ts'

export type TokenStoreKind = 'redis' | 'postgres'

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

/** Everything that can be set. Durations are in seconds. */
export interface Config {
  readonly databaseUrl: Secret
  readonly redisUrl: Secret | undefined
  /** How much older than its last use the data of a Redis may be that restarted or took over. */
  readonly redisReplayWindow: number
  /** How many replicas must have a change of a record before it is acknowledged. */
  readonly redisWaitReplicas: number
  readonly tokenStore: TokenStoreKind
  /** Fernet keys: the first encrypts, all decrypt. */
  readonly sessionSecrets: Secret<readonly string[]>
  readonly bootstrapToken: Secret<Token> | undefined
  readonly tokenLifetime: number
  readonly delegatedTokenLifetime: number
  readonly knownScopes: KnownScopes
  readonly delegationLimits: DelegationLimits
  /** Whether internal and notebook tokens may create and modify tokens. */
  readonly delegatedTokensMayCreate: boolean
  readonly historyRetention: number
  /** Entries of each of the two caches. */
  readonly tokenCacheSize: number
  /** Whether copies of what Redis holds are kept in memory, for as long as it tells of every change. */
  readonly trackedCopies: boolean
  /** Addresses and blocks of the proxies whose `X-Forwarded-For` is believed. */
  readonly trustedProxies: readonly string[]
  /** How many authentications from one address may fail in a minute; 0 for any number. */
  readonly authFailuresPerMinute: number
  readonly host: string
  readonly port: number
  readonly logLevel: (typeof LOG_LEVELS)[number]
  readonly graphiql: boolean
  /** Who may ask for the schema: anybody, who has a valid token, or nobody. */
  readonly introspection: 'open' | 'token' | 'off'
  /** Whether an error about a document names what could have been meant. */
  readonly suggestions: boolean
}

export { ConfigError } from './config-error.ts'

export type Environment = Readonly<Record<string, string | undefined>>

export const isProduction = (env: Environment): boolean => env.NODE_ENV === 'production'

/** Shortest life of a token, in seconds: below it no minimum lifetime could be asked for. */
const SHORTEST_LIFETIME = 600

/** No duration is longer, in seconds: a hundred years, so that every time made from it can be stored. */
const LONGEST_DURATION = 100 * 365 * DAY_SECONDS

/**
 * Reads the configuration from `given` and nothing else.
 *
 * @throws {ConfigError} naming every fault by its variable; never with a secret in it.
 */
export function loadConfig(given: Environment): Config {
  const env = trimSecrets(given)
  const faults: string[] = []
  const read = reader(env, faults)
  const production = isProduction(env)

  // Whoever meant production would get made-up secrets, and GraphiQL.
  if (!production && /^prod/i.test(env.NODE_ENV ?? '')) {
    faults.push('NODE_ENV must be exactly production; any other name must not begin with prod')
  }

  const databaseUrl = read.postgresUrl('DATABASE_URL')
  if (!env.DATABASE_URL)
    faults.push('DATABASE_URL is required, as postgresql://user:password@host:port/database')
  const redisUrl = read.redisUrl()
  const tokenStore = read.oneOf(
    'TOKEN_STORE',
    ['redis', 'postgres'] as const,
    env.REDIS_URL ? 'redis' : 'postgres',
  )
  if (tokenStore === 'redis' && !env.REDIS_URL)
    faults.push('REDIS_URL is required where TOKEN_STORE is redis')

  const tokenLifetime = read.duration('TOKEN_LIFETIME', '30d', SHORTEST_LIFETIME)
  const delegatedTokenLifetime = read.duration(
    'DELEGATED_TOKEN_LIFETIME',
    `${tokenLifetime}s`,
    SHORTEST_LIFETIME,
  )
  const areLifetimesValid = !faults.some((fault) => fault.includes('TOKEN_LIFETIME'))
  if (areLifetimesValid && delegatedTokenLifetime > tokenLifetime) {
    faults.push('DELEGATED_TOKEN_LIFETIME must not be above TOKEN_LIFETIME')
  }

  const graphiql = read.flag('GRAPHIQL', !production)
  // GraphiQL asks for the schema before it is given a token.
  const introspection = read.flag('INTROSPECTION', !production && graphiql)
  const isIntrospectionOff = env.INTROSPECTION ? !introspection : production

  const knownScopes = read.knownScopes()
  const config: Config = {
    databaseUrl: new Secret(databaseUrl ?? ''),
    redisUrl: redisUrl === undefined ? undefined : new Secret(redisUrl),
    redisReplayWindow: read.duration('REDIS_REPLAY_WINDOW', '10m', 1),
    redisWaitReplicas: read.integer('REDIS_WAIT_REPLICAS', 0, 0, 10),
    tokenStore,
    sessionSecrets: read.sessionSecrets(),
    bootstrapToken: read.bootstrapToken(),
    tokenLifetime,
    delegatedTokenLifetime,
    knownScopes,
    delegationLimits: {
      undelegableScopes: read.undelegableScopes(knownScopes),
      maxDepth: read.integer('DELEGATION_MAX_DEPTH', 5, 1, 50),
      maxChildren: read.integer('MAX_CHILDREN', 1_000, 1, 100_000),
    },
    delegatedTokensMayCreate: read.flag('DELEGATED_TOKENS_MAY_CREATE', false),
    historyRetention: read.duration('HISTORY_RETENTION', '365d', 1),
    tokenCacheSize: read.integer('TOKEN_CACHE_SIZE', 5_000, 1, 10_000_000),
    trackedCopies: read.flag('TRACKED_COPIES', true),
    trustedProxies: read.trustedProxies(),
    authFailuresPerMinute: read.integer('AUTH_FAILURES_PER_MINUTE', 600, 0, 1_000_000),
    host: read.host(production ? '0.0.0.0' : '127.0.0.1'),
    port: read.integer('PORT', 4_000, 0, 65_535),
    logLevel: read.oneOf('LOG_LEVEL', LOG_LEVELS, 'info'),
    graphiql,
    introspection: introspection ? 'open' : isIntrospectionOff ? 'off' : 'token',
    suggestions: introspection || !production,
  }
  if (faults.length > 0) throw new ConfigError(faults)
  return Object.freeze(config)
}

const FLAGS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['on', true],
  ['1', true],
  ['false', false],
  ['off', false],
  ['0', false],
])

/** Looser than RFC 1123 section 2.1: those who name containers use `_` too. */
const HOST_NAME = /^\w[\w.-]*$/

/** The entries of a list, which commas or white space separate. */
export const splitList = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean)

/** Readers of one variable each. A faulty one adds to `faults` and answers with the fallback. */
function reader(env: Environment, faults: string[]) {
  const fault = <T>(text: string, fallback: T): T => {
    faults.push(text)
    return fallback
  }
  const attempt = <T>(name: string, parse: () => T): T | undefined => {
    try {
      return parse()
    } catch (error) {
      return fault(`${name} ${(error as Error).message}`, undefined)
    }
  }
  // A variable that is set but empty counts as not set, as in most shells' ${NAME:-default}.
  const list = (name: string): string[] => splitList(env[name] ?? '')

  return {
    postgresUrl(name: string): string | undefined {
      const value = env[name]
      if (!value) return undefined
      if (!/^postgres(ql)?:\/\//.test(value)) {
        return fault(`${name} must be a URL that begins with postgres:// or postgresql://`, undefined)
      }
      if (!URL.canParse(value)) {
        return fault(
          `${name} must be a URL: of one host, and in its user and password / ? # @ : % and the like are written as %2F %3F %23 %40 %3A %25`,
          undefined,
        )
      }
      try {
        parsePostgresUrl(value)
        return value
      } catch (error) {
        return fault(`${name} ${(error as Error).message}`, undefined)
      }
    },

    host(fallback: string): string {
      const value = env.HOST || fallback
      if (isIP(value) || HOST_NAME.test(value)) return value
      return fault(
        'HOST must be an address, such as 127.0.0.1, :: (without brackets) or 0.0.0.0, or a name',
        fallback,
      )
    },

    redisUrl(): string | undefined {
      const value = env.REDIS_URL
      if (!value) return undefined
      try {
        parseRedisUrl(value)
        return value
      } catch (error) {
        return fault(`REDIS_URL ${(error as Error).message}`, undefined)
      }
    },

    oneOf<const T extends string>(name: string, values: readonly T[], fallback: T): T {
      const value = env[name] || fallback
      return (
        values.find((candidate) => candidate === value) ??
        fault(`${name} must be one of: ${values.join(', ')}`, fallback)
      )
    },

    integer(name: string, fallback: number, least: number, most: number): number {
      const value = env[name] ? Number(env[name]) : fallback
      const isValid = /^\d*$/.test(env[name] ?? '') && value >= least && value <= most
      return isValid ? value : fault(`${name} must be a whole number from ${least} to ${most}`, fallback)
    },

    duration(name: string, fallback: string, least: number): number {
      const seconds = parseDuration(env[name] || fallback)
      if (seconds !== undefined && seconds >= least && seconds <= LONGEST_DURATION) return seconds
      return fault(
        `${name} must be a duration such as 30d or 1h30m (units w d h m s) of at least ${least}s and at most ${LONGEST_DURATION / DAY_SECONDS}d`,
        least,
      )
    },

    flag(name: string, fallback: boolean): boolean {
      if (!env[name]) return fallback
      return FLAGS.get(env[name].toLowerCase()) ?? fault(`${name} must be true or false`, fallback)
    },

    sessionSecrets(): Secret<readonly string[]> {
      const keys = list('SESSION_SECRET')
      attempt('SESSION_SECRET', () => checkSessionSecret(keys, !isProduction(env)))
      return new Secret(keys)
    },

    bootstrapToken(): Secret<Token> | undefined {
      const token = attempt('BOOTSTRAP_TOKEN', () =>
        parseBootstrapToken(env.BOOTSTRAP_TOKEN, !isProduction(env)),
      )
      return token && new Secret(token)
    },

    knownScopes(): KnownScopes {
      return attempt('KNOWN_SCOPES', () => parseKnownScopes(env.KNOWN_SCOPES)) ?? new Map()
    },

    undelegableScopes(known: KnownScopes): UndelegableScopes {
      const names = list('UNDELEGABLE_SCOPES')
      return attempt('UNDELEGABLE_SCOPES', () => parseUndelegableScopes(names, known)) ?? new Set()
    },

    trustedProxies(): readonly string[] {
      const blocks = list('TRUSTED_PROXIES')
      const place = blocks.findIndex((block) => !isAddressOrBlock(block))
      if (place < 0) return blocks
      return fault(
        `TRUSTED_PROXIES must be full addresses, or CIDR blocks with no bits set behind their prefix, separated by commas, such as 10.0.0.0/8: entry ${place + 1} is none`,
        [],
      )
    },
  }
}

/** Whether it is a full address, or a block of them; proxy-addr also takes `10/8`, which means 0.0.0.10/8. */
function isAddressOrBlock(text: string): boolean {
  try {
    proxyaddr.compile([text])
    parseAddressFilter(text)
    return true
  } catch {
    return false
  }
}
