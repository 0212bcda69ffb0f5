/** What a `DATABASE_URL` says beyond server, user and database. */
export interface PostgresUrl {
  /** For the driver: server, user, database, TLS. Every parameter that is left in it is one that the driver honours. */
  readonly connectionString: string
  /** The schema that holds the tables. */
  readonly schema: string
  /** Connections of a pool; `undefined` where it is not said. */
  readonly connectionLimit: number | undefined
  /** How long connecting may take, in milliseconds; `undefined` where it is not said. */
  readonly connectTimeoutMs: number | undefined
  readonly channelBinding: boolean
  readonly applicationName: string | undefined
  /** Limits in milliseconds, by their names in PostgreSQL and in its driver. None is above those that Porthor sets. */
  readonly limits: Readonly<Partial<Record<LimitName, number>>>
}

/** The longest that Porthor lets PostgreSQL take, in milliseconds. A URL may set less, and never more. */
export const POSTGRES_LIMITS = {
  lock_timeout: 4_000,
  statement_timeout: 5_000,
  query_timeout: 6_000,
  idle_in_transaction_session_timeout: 10_000,
} as const

export type LimitName = keyof typeof POSTGRES_LIMITS

/** States what would be right, and no value: any part of the URL may be a misplaced password. */
export class PostgresUrlError extends Error {
  override readonly name = 'PostgresUrlError'
}

const MAX_CONNECTIONS = 1_000
const MAX_CONNECT_TIMEOUT_S = 60

/** Passed on to the driver as they are, and the values that it honours. */
const PASSED_ON: ReadonlyMap<string, RegExp> = new Map(
  Object.entries({
    host: /./,
    port: /^\d+$/,
    user: /./,
    password: /./,
    options: /./,
    ssl: /^(true|false|1|0|no-verify)$/,
    sslmode: /^(disable|prefer|require|verify-ca|verify-full|no-verify)$/,
    sslcert: /./,
    sslkey: /./,
    sslrootcert: /./,
    sslnegotiation: /^(postgres|direct)$/,
    uselibpqcompat: /^(true|false)$/,
  }),
)

/** Ask for nothing but what is done anyway. */
const WITHOUT_EFFECT: ReadonlyMap<string, RegExp> = new Map(
  Object.entries({
    sslaccept: /^strict$/,
    pgbouncer: /^false$/,
    client_encoding: /^utf-?8$/i,
    target_session_attrs: /^(any|read-write)$/,
    keepalives: /^1$/,
    gssencmode: /^(disable|prefer)$/,
  }),
)

/** What to write instead of parameters that are common elsewhere. */
const ADVICE: ReadonlyMap<string, string> = new Map(
  Object.entries({
    sslaccept: 'write sslmode=no-verify where any certificate is to be accepted',
    sslidentity: 'write sslcert and sslkey',
    sslpassword: 'write sslcert and sslkey, with a key that is not encrypted',
    sslmode: 'write disable, no-verify, require, verify-ca or verify-full',
    pgbouncer:
      'Porthor needs sessions of its own: set pool_mode=session in PgBouncer, and leave this parameter out',
    statement_cache_size: 'leave it out, for Porthor prepares no statements but on sessions of its own',
    pool_timeout: 'leave it out, for Porthor waits 3 seconds for a connection',
    socket_timeout: 'write query_timeout, in milliseconds',
    client_encoding: 'leave it out, for Porthor sets UTF8',
    search_path: 'write schema, with the name of one schema',
    target_session_attrs: 'name the server that takes writes, and leave it out',
  }),
)

/**
 * Reads a PostgreSQL URL as users of libpq, of Prisma and of node-postgres write it. Every parameter is honoured or
 * refused by name.
 *
 * @throws {PostgresUrlError}
 */
export function parsePostgresUrl(text: string): PostgresUrl {
  const url = new URL(text)
  const parameters = url.searchParams
  for (const name of parameters.keys()) requireKnown(name, parameters.getAll(name))
  const take = (name: string): string | undefined => {
    const value = parameters.get(name) ?? undefined
    parameters.delete(name)
    return value
  }
  for (const name of WITHOUT_EFFECT.keys()) take(name)
  const limits = Object.fromEntries(
    limitNames.flatMap((name) => {
      const value = take(name)
      return value === undefined ? [] : [[name, requireInteger(name, value, POSTGRES_LIMITS[name])]]
    }),
  )
  const schema = take('schema') ?? 'public'
  if (!schema) throw new PostgresUrlError('schema must be the name of a schema')
  const limit = take('connection_limit')
  const connectTimeout = take('connect_timeout')
  return {
    schema,
    limits,
    connectionLimit:
      limit === undefined ? undefined : requireInteger('connection_limit', limit, MAX_CONNECTIONS),
    connectTimeoutMs:
      connectTimeout === undefined
        ? undefined
        : 1_000 * requireInteger('connect_timeout', connectTimeout, MAX_CONNECT_TIMEOUT_S),
    channelBinding: take('channel_binding') !== 'disable',
    applicationName: take('application_name'),
    connectionString: url.href,
  }
}

const limitNames = Object.keys(POSTGRES_LIMITS) as LimitName[]

const OF_OURS = new Set<string>([
  ...limitNames,
  'schema',
  'connection_limit',
  'connect_timeout',
  'application_name',
])

function requireKnown(name: string, values: readonly string[]): void {
  const [value = ''] = values
  if (values.length > 1) throw new PostgresUrlError(`must have its parameter ${name} once`)
  if (OF_OURS.has(name)) return
  if (name === 'channel_binding' && /^(disable|prefer|require)$/.test(value)) return
  const honoured = PASSED_ON.get(name) ?? WITHOUT_EFFECT.get(name)
  if (honoured?.test(value)) return
  const isKnown = honoured !== undefined || name === 'channel_binding'
  const text = ADVICE.get(name)
  const advice = text ? `: ${text}` : ''
  // A name that is no word may be part of a password in which a ? was not written as %3F.
  const named = /^[a-z_]{1,64}$/i.test(name) ? `the parameter ${name}` : 'a parameter whose name is not one'
  throw new PostgresUrlError(
    isKnown
      ? `has a value of its parameter ${name} that Porthor does not honour${advice}`
      : `has ${named}, which Porthor does not honour${advice || ': leave it out'}`,
  )
}

function requireInteger(name: string, value: string, max: number): number {
  const number = Number(value)
  if (/^\d{1,9}$/.test(value) && number >= 1 && number <= max) return number
  throw new PostgresUrlError(`must have in its parameter ${name} a whole number from 1 to ${max}`)
}
