import { isIP } from 'node:net'
import proxyaddr from 'proxy-addr'
import type { DelegationLimits } from '../domain/delegation.ts'
import { parseAddressFilter } from '../domain/ip-address.ts'
import { DAY_SECONDS } from '../domain/lifetime.ts'
import type { KnownScopes, UndelegableScopes } from '../domain/scope.ts'
import type { Token } from '../domain/token.ts'
import { parseDuration } from '../lib/duration.ts'
import { parsePostgresUrl } from '../lib/postgres-url.ts'
import { parseRedisUrl } from '../lib/redis-url.ts'
import { Secret } from '../lib/secret.ts'
import { ConfigError } from './config-error.ts'
import { parseKnownScopes, parseUndelegableScopes } from './scopes.ts'
import { checkSessionSecret, parseBootstrapToken, trimSecrets } from './secrets.ts'

export type TokenStoreKind = 'redis' | 'postgres'

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

/** All settings. Durations are in seconds. */
export interface Config {
  readonly databaseUrl: Secret
  readonly redisUrl: Secret | undefined
  /** How far the data of a Redis that restarted or took over may lag behind its last use. */
  readonly redisReplayWindow: number
  /** Number of replicas that must have a change of a record before the change is acknowledged. */
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
  /** Capacity of each of the two caches, in cache entries. */
  readonly tokenCacheSize: number
  /** Whether records are kept in a client-side cache, which Redis invalidates. */
  readonly clientSideCache: boolean
  /** Addresses and CIDR blocks of the proxies whose `X-Forwarded-For` is trusted. */
  readonly trustedProxies: readonly string[]
  /** Maximum number of failed authentications per address and minute; 0 for no limit. */
  readonly authFailuresPerMinute: number
  readonly host: string
  readonly port: number
  readonly logLevel: (typeof LOG_LEVELS)[number]
  readonly graphiql: boolean
  /** Who may query the schema: everyone (`open`), holders of a valid token (`token`), or no one (`off`). */
  readonly introspection: 'open' | 'token' | 'off'
  /** Whether an error about a document suggests names that the schema has. */
  readonly suggestions: boolean
}

export { ConfigError } from './config-error.ts'

export type Environment = Readonly<Record<string, string | undefined>>

export const isProduction = (env: Environment): boolean => env.NODE_ENV === 'production'

/** Minimum lifetime of a token, in seconds: a shorter token could satisfy no minimum lifetime of a request. */
const MIN_LIFETIME_SECONDS = 600

/** Maximum of every duration, in seconds: a hundred years, so that every time computed with it can be stored. */
const MAX_DURATION_SECONDS = 100 * 365 * DAY_SECONDS

/**
 * Parses the configuration. Reads nothing but `given`.
 *
 * @throws {ConfigError} Names the variable of every error; never contains a secret.
 */
export function loadConfig(given: Environment): Config {
  const env = trimSecrets(given)
  const problems: string[] = []
  const read = reader(env, problems)
  const production = isProduction(env)

  // A misspelt production would start with generated secrets and GraphiQL.
  if (!production && /^prod/i.test(env.NODE_ENV ?? '')) {
    problems.push('NODE_ENV must be production, or a name that does not begin with prod')
  }

  const databaseUrl = read.postgresUrl('DATABASE_URL')
  if (!env.DATABASE_URL)
    problems.push('DATABASE_URL is required, as postgresql://user:password@host:port/database')
  const redisUrl = read.redisUrl()
  const tokenStore = read.oneOf(
    'TOKEN_STORE',
    ['redis', 'postgres'] as const,
    env.REDIS_URL ? 'redis' : 'postgres',
  )
  if (tokenStore === 'redis' && !env.REDIS_URL)
    problems.push('REDIS_URL is required where TOKEN_STORE is redis')

  const tokenLifetime = read.duration('TOKEN_LIFETIME', '30d', MIN_LIFETIME_SECONDS)
  const delegatedTokenLifetime = read.duration(
    'DELEGATED_TOKEN_LIFETIME',
    `${tokenLifetime}s`,
    MIN_LIFETIME_SECONDS,
  )
  const areLifetimesValid = !problems.some((problem) => problem.includes('TOKEN_LIFETIME'))
  if (areLifetimesValid && delegatedTokenLifetime > tokenLifetime) {
    problems.push('DELEGATED_TOKEN_LIFETIME must not be longer than TOKEN_LIFETIME')
  }

  const graphiql = read.flag('GRAPHIQL', !production)
  // GraphiQL queries the schema before the user enters a token.
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
    clientSideCache: read.flag('CLIENT_SIDE_CACHE', true),
    trustedProxies: read.trustedProxies(),
    authFailuresPerMinute: read.integer('AUTH_FAILURES_PER_MINUTE', 600, 0, 1_000_000),
    host: read.host(production ? '0.0.0.0' : '127.0.0.1'),
    port: read.integer('PORT', 4_000, 0, 65_535),
    logLevel: read.oneOf('LOG_LEVEL', LOG_LEVELS, 'info'),
    graphiql,
    introspection: introspection ? 'open' : isIntrospectionOff ? 'off' : 'token',
    suggestions: introspection || !production,
  }
  if (problems.length > 0) throw new ConfigError(problems)
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

/** Looser than RFC 1123 section 2.1: names of containers contain `_` too. */
const HOST_NAME = /^\w[\w.-]*$/

/** Splits a list at commas and white space. */
export const splitList = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean)

type Reject = <T>(problem: string, fallback: T) => T

/** Creates the parsers of addresses and URLs. */
function urlReader(env: Environment, reject: Reject) {
  return {
    postgresUrl(name: string): string | undefined {
      const value = env[name]
      if (!value) return undefined
      if (!/^postgres(ql)?:\/\//.test(value)) {
        return reject(`${name} must be a URL that begins with postgres:// or postgresql://`, undefined)
      }
      if (!URL.canParse(value)) {
        return reject(
          `${name} must be a valid URL with one host. In its user and password, / ? # @ : % must be written as %2F %3F %23 %40 %3A %25`,
          undefined,
        )
      }
      try {
        parsePostgresUrl(value)
        return value
      } catch (error) {
        return reject(`${name} ${(error as Error).message}`, undefined)
      }
    },

    host(fallback: string): string {
      const value = env.HOST || fallback
      if (isIP(value) || HOST_NAME.test(value)) return value
      return reject(
        'HOST must be an address, such as 127.0.0.1, :: (without brackets) or 0.0.0.0, or a host name',
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
        return reject(`REDIS_URL ${(error as Error).message}`, undefined)
      }
    },
  }
}

/** Creates parsers, each of one variable. For an invalid one they add to `problems` and return the fallback. */
function reader(env: Environment, problems: string[]) {
  const reject: Reject = (problem, fallback) => {
    problems.push(problem)
    return fallback
  }
  const attempt = <T>(name: string, parse: () => T): T | undefined => {
    try {
      return parse()
    } catch (error) {
      return reject(`${name} ${(error as Error).message}`, undefined)
    }
  }
  // A variable that is set but empty counts as not set, as in most shells' ${NAME:-default}.
  const list = (name: string): string[] => splitList(env[name] ?? '')

  return {
    ...urlReader(env, reject),

    oneOf<const T extends string>(name: string, values: readonly T[], fallback: T): T {
      const value = env[name] || fallback
      return (
        values.find((candidate) => candidate === value) ??
        reject(`${name} must be one of: ${values.join(', ')}`, fallback)
      )
    },

    integer(name: string, fallback: number, min: number, max: number): number {
      const value = env[name] ? Number(env[name]) : fallback
      const isValid = /^\d*$/.test(env[name] ?? '') && value >= min && value <= max
      return isValid ? value : reject(`${name} must be a whole number from ${min} to ${max}`, fallback)
    },

    duration(name: string, fallback: string, min: number): number {
      const seconds = parseDuration(env[name] || fallback)
      if (seconds !== undefined && seconds >= min && seconds <= MAX_DURATION_SECONDS) return seconds
      return reject(
        `${name} must be a duration such as 30d or 1h30m (units w d h m s) of at least ${min}s and at most ${MAX_DURATION_SECONDS / DAY_SECONDS}d`,
        min,
      )
    },

    flag(name: string, fallback: boolean): boolean {
      if (!env[name]) return fallback
      return FLAGS.get(env[name].toLowerCase()) ?? reject(`${name} must be true or false`, fallback)
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
      return reject(
        `TRUSTED_PROXIES must be full IP addresses, or CIDR blocks such as 10.0.0.0/8 with no bits set after the prefix, separated by commas: entry ${place + 1} is neither`,
        [],
      )
    },
  }
}

/** Whether `text` is a full address or CIDR block. proxy-addr also accepts `10/8`, which means 0.0.0.10/8. */
function isAddressOrBlock(text: string): boolean {
  try {
    proxyaddr.compile([text])
    parseAddressFilter(text)
    return true
  } catch {
    return false
  }
}
