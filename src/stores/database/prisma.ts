import { AsyncResource } from 'node:async_hooks'
import { PrismaPg } from '@prisma/adapter-pg'
import pg from 'pg'
import type { Logger } from 'pino'
import { PrismaClient } from '../../generated/prisma/client.ts'
import type { PostgresUrl } from '../../lib/postgres-url.ts'
import { RepeatLimitedLog } from '../../lib/repeat-limited-log.ts'
import { CONNECT_TIMEOUT_MS, clientClass, clientConfig } from './postgres-client.ts'

/** Maximum time of a transaction of few statements, in milliseconds, including the wait for a connection. */
export const TRANSACTION_TIMEOUT_MS = 8_000

/**
 * Maximum age of a connection, in seconds: an old one may be to a server that is not the primary any more, and refuses
 * writes.
 */
const MAX_LIFETIME_S = 60

/** Connections for transactions. One that waits for a lock keeps its connection, so there are more than cores. */
const POOL_SIZE = 20

/**
 * Opens a pool of at most `size` connections, or `connection_limit` of the URL. It logs the loss of a connection, which
 * would otherwise end the process.
 */
export function openPool(databaseUrl: PostgresUrl, log: Logger, size = POOL_SIZE): pg.Pool {
  const pool = new CallersPool({
    ...clientConfig(databaseUrl),
    Client: clientClass(databaseUrl),
    max: databaseUrl.connectionLimit ?? size,
    maxLifetimeSeconds: MAX_LIFETIME_S,
  })
  pool.on('error', reportLoss(pool, log))
  return pool
}

type OnConnection = (error: Error | undefined, client: pg.PoolClient | undefined, done: () => void) => void

/**
 * A pool that calls back in the context of its caller, and so with the caller's deadline. Its base class does so in that of
 * whoever released the connection.
 */
class CallersPool extends pg.Pool {
  override connect(): Promise<pg.PoolClient>
  override connect(callback: OnConnection): void
  override connect(callback?: OnConnection): Promise<pg.PoolClient> | undefined {
    if (!callback) return super.connect()
    super.connect(AsyncResource.bind(callback))
    return undefined
  }
}

/**
 * Opens the Prisma client over the pg driver. It connects at the first query; `$disconnect` closes its connections.
 * `$connect` only loads the engine. If that fails, Prisma keeps the error for ever.
 */
export function openPrisma(databaseUrl: PostgresUrl, log: Logger, size?: number): PrismaClient {
  const pool = openPool(databaseUrl, log, size)
  const adapter = new PrismaPg(pool, {
    disposeExternalPool: true,
    schema: databaseUrl.schema,
    onConnectionError: reportLoss(pool, log),
  })
  return new PrismaClient({
    adapter,
    errorFormat: 'minimal',
    transactionOptions: { maxWait: CONNECT_TIMEOUT_MS, timeout: TRANSACTION_TIMEOUT_MS },
  })
}

/** Logs the loss of a connection, unless the pool is closing: a server that shuts down may still send an error then. */
function reportLoss(pool: pg.Pool, log: Logger): (error: Error) => void {
  const lines = new RepeatLimitedLog(log)
  return ({ message }) => {
    if (!pool.ending) lines.warn(message, { reason: message }, 'lost a connection to PostgreSQL')
  }
}
