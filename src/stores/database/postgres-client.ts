import pg from 'pg'
import { POSTGRES_LIMITS, parsePostgresUrl } from '../../lib/postgres-url.ts'
import { remainingMs } from '../deadline.ts'

/** How long connecting may take, in milliseconds. With a statement that is not answered, it is less than ten seconds. */
export const CONNECT_TIMEOUT_MS = 3_000

export interface ClientOptions extends pg.ClientConfig {
  /** Whether statements and locks may take as long as they take. */
  readonly isUnbounded?: boolean
}

/** What the driver is given for `databaseUrl`. The parameters of the URL come before `options`. */
export function clientConfig(databaseUrl: string, options: ClientOptions = {}): ClientOptions {
  const { connectionString, connectTimeoutMs, channelBinding, applicationName } =
    parsePostgresUrl(databaseUrl)
  return {
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
    application_name: 'porthor',
    ...options,
    ...(connectTimeoutMs && { connectionTimeoutMillis: Math.min(connectTimeoutMs, CONNECT_TIMEOUT_MS) }),
    ...(applicationName && { application_name: applicationName }),
    enableChannelBinding: channelBinding,
    connectionString,
  }
}

const KEEP_ALIVE_DELAY_MS = 5_000

/**
 * A class of clients for `databaseUrl` that set on their session all that our SQL relies on, and that are closed, with
 * their socket, when a query is not answered in time: what the server makes of it is never mixed with what comes later.
 *
 * Settings go out in a statement and not with the start of the session: PgBouncer refuses those there.
 */
export function clientClass(databaseUrl: string, isUnbounded = false): typeof pg.Client {
  const { schema, limits } = parsePostgresUrl(databaseUrl)
  const { query_timeout: queryTimeoutMs, ...bounds } = { ...POSTGRES_LIMITS, ...limits }
  const settings = {
    ...SETTINGS,
    search_path: pg.escapeIdentifier(schema),
    ...(isUnbounded ? UNBOUNDED : bounds),
  }
  const statement = `SELECT ${Object.entries(settings)
    .map(([name, value]) => `set_config('${name}', ${pg.escapeLiteral(String(value))}, false)`)
    .join(', ')}`
  return class extends pg.Client {
    constructor(config?: string | pg.ClientConfig) {
      super(config)
      // Queries report a connection that breaks; without a listener it would end the process.
      this.on('error', () => undefined)
      setAfterConnecting(this, statement)
      closeAtLast(this)
      if (!isUnbounded) closeWhenSilent(this, queryTimeoutMs)
    }
  }
}

/** A client of that class, not yet connected. */
export function createClient(
  databaseUrl: string,
  { isUnbounded = false, ...options }: ClientOptions = {},
): pg.Client {
  return new (clientClass(databaseUrl, isUnbounded))(clientConfig(databaseUrl, options))
}

/** How values are written and read, and what a transaction sees, whatever are the defaults of role and database. */
const SETTINGS = {
  client_encoding: 'UTF8',
  DateStyle: 'ISO, YMD',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  bytea_output: 'hex',
  standard_conforming_strings: 'on',
  transform_null_equals: 'off',
  extra_float_digits: '1',
  default_transaction_isolation: 'read committed',
  default_transaction_deferrable: 'off',
}

const UNBOUNDED = { lock_timeout: 0, statement_timeout: 0, idle_in_transaction_session_timeout: 0 }

function setAfterConnecting(client: pg.Client, statement: string): void {
  const connect = client.connect.bind(client) as () => Promise<unknown>
  const connectAndSet = async (): Promise<void> => {
    await connect()
    await client.query(statement)
  }
  client.connect = ((callback?: (error?: Error) => void) => {
    const connected = connectAndSet()
    // Not from within the promise, where what the callback throws would be a rejection that nobody handles.
    if (callback)
      connected.then(
        () => setImmediate(callback),
        (error: Error) => setImmediate(callback, error),
      )
    return connected
  }) as unknown as pg.Client['connect']
}

/** How long a server may take to close a connection when it is told the end, in milliseconds. */
const GOODBYE_MS = 2_000

/** The driver waits for the server to close, which a silent one never does. */
function closeAtLast(client: pg.Client): void {
  const end = client.end.bind(client) as (...args: unknown[]) => unknown
  client.end = ((...args: unknown[]) => {
    const timer = setTimeout(() => client.connection.stream.destroy(), GOODBYE_MS)
    client.connection.once('end', () => clearTimeout(timer))
    // Of a connection that was never opened, or is closed, no end comes: then there is nothing to keep a process for.
    timer.unref()
    return end(...args)
  }) as pg.Client['end']
}

type Callback = (...results: unknown[]) => void

/** The driver's own limit leaves the connection open, and what waits behind the query waits for it again. */
function closeWhenSilent(client: pg.Client, limitMs: number): void {
  const send = (...args: unknown[]): unknown => Reflect.apply(pg.Client.prototype.query, client, args)
  client.query = ((...args: unknown[]) => {
    const timer = setTimeout(() => void client.end().catch(() => undefined), Math.min(limitMs, remainingMs()))
    const last = args.at(-1)
    if (typeof last === 'function') {
      args[args.length - 1] = (...results: unknown[]) => {
        clearTimeout(timer)
        ;(last as Callback)(...results)
      }
      return send(...args)
    }
    const result = send(...args)
    if (result instanceof Promise) {
      const stop = () => clearTimeout(timer)
      result.then(stop, stop)
    } else clearTimeout(timer)
    return result
  }) as pg.Client['query']
}
