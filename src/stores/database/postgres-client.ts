import pg from 'pg'
import { POSTGRES_LIMITS, type PostgresUrl } from '../../lib/postgres-url.ts'
import { remainingMs, withoutDeadline } from '../deadline.ts'

/** Maximum time to connect, in milliseconds. Together with a query without a response, it is less than ten seconds. */
export const CONNECT_TIMEOUT_MS = 3_000

export interface ClientOptions extends pg.ClientConfig {
  /** Whether statements and locks have no time limit. */
  readonly isUnbounded?: boolean
}

/** What the driver is given for `databaseUrl`. The parameters of the URL come before `options`. */
export function clientConfig(
  { connectionString, connectTimeoutMs, channelBinding, applicationName }: PostgresUrl,
  options: ClientOptions = {},
): ClientOptions {
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
 * Returns a class of clients for `databaseUrl`. Its clients set all session settings that Porthor's SQL needs. If a query has
 * no response in time, they close their socket, so that a late response is never taken for that of another query.
 *
 * Settings are sent in a statement and not when the session starts: PgBouncer refuses them there.
 */
export function clientClass({ schema, limits }: PostgresUrl, isUnbounded = false): typeof pg.Client {
  const { query_timeout: queryTimeoutMs, ...bounds } = { ...POSTGRES_LIMITS, ...limits }
  const settings = {
    ...SETTINGS,
    search_path: pg.escapeIdentifier(schema),
    ...(isUnbounded ? UNBOUNDED : bounds),
  }
  const statement = `SELECT ${Object.entries(settings)
    .map(([name, value]) => `set_config('${name}', ${pg.escapeLiteral(String(value))}, false)`)
    .join(', ')}, ${DURABLE_COMMITS}`
  return class extends pg.Client {
    constructor(config?: string | pg.ClientConfig) {
      super(config)
      // Queries report a connection that breaks; without a listener it would end the process.
      this.on('error', () => undefined)
      setAfterConnecting(this, statement)
      limitClosing(this)
      if (!isUnbounded) closeWhenSilent(this, queryTimeoutMs)
    }
  }
}

/** Returns a client of that class that is not connected yet. */
export function createClient(
  databaseUrl: PostgresUrl,
  { isUnbounded = false, ...options }: ClientOptions = {},
): pg.Client {
  return new (clientClass(databaseUrl, isUnbounded))(clientConfig(databaseUrl, options))
}

/** Settings of formats and isolation, which override the defaults of role and database. */
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

/** Without it, PostgreSQL may lose in a crash what it has acknowledged: a revoked token would be valid again. */
const DURABLE_COMMITS = `set_config('synchronous_commit',
  CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)`

const UNBOUNDED = { lock_timeout: 0, statement_timeout: 0, idle_in_transaction_session_timeout: 0 }

function setAfterConnecting(client: pg.Client, statement: string): void {
  const connect = client.connect.bind(client) as () => Promise<unknown>
  const connectAndSet = async (): Promise<void> => {
    await connect()
    await client.query(statement)
  }
  client.connect = ((callback?: (error?: Error) => void) => {
    // The connection is used by others later, and the events of its socket run in the context in which it was opened.
    const connected = withoutDeadline(connectAndSet)
    // Outside the promise, in which an error of the callback would be an unhandled rejection.
    if (callback)
      connected.then(
        () => setImmediate(callback),
        (error: Error) => setImmediate(callback, error),
      )
    return connected
  }) as unknown as pg.Client['connect']
}

/** Maximum time for the server to close a connection after the client has ended it, in milliseconds. */
const CLOSE_TIMEOUT_MS = 2_000

/** Makes `end` close the socket after a while: the driver waits for the server, and a silent one never closes it. */
function limitClosing(client: pg.Client): void {
  const end = client.end.bind(client) as (...args: unknown[]) => unknown
  client.end = ((...args: unknown[]) => {
    const timer = setTimeout(() => client.connection.stream.destroy(), CLOSE_TIMEOUT_MS)
    client.connection.once('end', () => clearTimeout(timer))
    // There is no `end` event for a connection that was never opened, or is closed: the timer must not delay the exit.
    timer.unref()
    return end(...args)
  }) as pg.Client['end']
}

type Callback = (...results: unknown[]) => void

/** Closes the connection when a query has no response in time. The driver's own limit leaves it open, with later queries waiting. */
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
