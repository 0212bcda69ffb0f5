/** A parsed PostgreSQL URL. */
export interface PostgresUrl {
  /** For the driver: server, user, database, TLS. It contains only parameters that the driver supports. */
  readonly connectionString: string
  /** Schema of the tables. */
  readonly schema: string
  /** Maximum number of connections of a pool; `undefined` where the URL does not set it. */
  readonly connectionLimit: number | undefined
  /** Maximum time to connect, in milliseconds; `undefined` where the URL does not set it. */
  readonly connectTimeoutMs: number | undefined
  readonly channelBinding: boolean
  readonly applicationName: string | undefined
  /** Limits in milliseconds, by their names in PostgreSQL and in its driver. None exceeds `POSTGRES_LIMITS`. */
  readonly limits: Readonly<Partial<Record<LimitName, number>>>
}

/** Maximum limits, in milliseconds. A URL may set lower ones. */
export const POSTGRES_LIMITS = {
  lock_timeout: 4_000,
  statement_timeout: 5_000,
  query_timeout: 6_000,
  idle_in_transaction_session_timeout: 10_000,
} as const

export type LimitName = keyof typeof POSTGRES_LIMITS

/** The URL is not valid. The message says what is right and quotes no value: any part may be a misplaced password. */
export class PostgresUrlError extends Error {
  override readonly name = 'PostgresUrlError'
}

const MAX_CONNECTIONS = 1_000
const MAX_CONNECT_TIMEOUT_S = 60

/** Parameters that are passed to the driver unchanged, and the values that it supports. */
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

/** Parameters that have no effect with these values. */
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

/** Alternatives to parameters that are common elsewhere. */
const ADVICE: ReadonlyMap<string, string> = new Map(
  Object.entries({
    sslaccept: 'use sslmode=no-verify to accept any certificate',
    sslidentity: 'use sslcert and sslkey',
    sslpassword: 'use sslcert and sslkey, with a key that is not encrypted',
    sslmode: 'use disable, no-verify, require, verify-ca or verify-full',
    pgbouncer:
      'set pool_mode=session in PgBouncer, because sessions must not be shared, and remove this parameter',
    statement_cache_size: 'remove it, because statements are prepared only on sessions that are not shared',
    pool_timeout: 'remove it, because the time to wait for a connection is always 3 seconds',
    socket_timeout: 'use query_timeout, in milliseconds',
    client_encoding: 'remove it, because the encoding is always UTF8',
    search_path: 'use schema, with the name of one schema',
    target_session_attrs: 'remove it, and name the server that accepts writes',
  }),
)

/**
 * Parses a PostgreSQL URL as users of libpq, Prisma and node-postgres write it. Every parameter either has its effect
 * or is refused by name.
 *
 * @throws {PostgresUrlError} Its message continues a sentence that begins with the setting's name.
 */
export function parsePostgresUrl(text: string): PostgresUrl {
  if (!/^postgres(ql)?:\/\//.test(text)) {
    throw new PostgresUrlError('must be a URL that begins with postgres:// or postgresql://')
  }
  if (!URL.canParse(text)) {
    throw new PostgresUrlError(
      'must be a valid URL with one host. In its user and password, / ? # @ : % must be written as %2F %3F %23 %40 %3A %25',
    )
  }
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
  if (!schema) throw new PostgresUrlError('must have the name of a schema in its parameter schema')
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

const USED_HERE = new Set<string>([
  ...limitNames,
  'schema',
  'connection_limit',
  'connect_timeout',
  'application_name',
])

function requireKnown(name: string, values: readonly string[]): void {
  const [value = ''] = values
  if (values.length > 1) throw new PostgresUrlError(`must have its parameter ${name} only once`)
  if (USED_HERE.has(name)) return
  if (name === 'channel_binding' && /^(disable|prefer|require)$/.test(value)) return
  const supported = PASSED_ON.get(name) ?? WITHOUT_EFFECT.get(name)
  if (supported?.test(value)) return
  const isKnown = supported !== undefined || name === 'channel_binding'
  const text = ADVICE.get(name)
  const advice = text ? `: ${text}` : ''
  // Another name may be part of a password in which ? was not written as %3F.
  const named = /^[a-z_]{1,64}$/i.test(name)
    ? `the unsupported parameter ${name}`
    : 'an unsupported parameter whose name is not valid'
  throw new PostgresUrlError(
    isKnown
      ? `has an unsupported value of its parameter ${name}${advice}`
      : `has ${named}${advice || ': remove it'}`,
  )
}

function requireInteger(name: string, value: string, max: number): number {
  const number = Number(value)
  if (/^\d{1,9}$/.test(value) && number >= 1 && number <= max) return number
  throw new PostgresUrlError(`must have a whole number from 1 to ${max} in its parameter ${name}`)
}
