import { PrismaPg } from '@prisma/adapter-pg'
import pg from 'pg'
import type { Logger } from 'pino'
import { PrismaClient } from '../generated/prisma/client.ts'
import { EqualLines } from '../lib/equal-lines.ts'

/**
 * How long PostgreSQL may keep a request waiting, in milliseconds. Each bound is shorter than the one
 * that contains it, so that the innermost is the one that speaks. A transaction that holds locks and
 * goes quiet (its process is paused) is ended by the server, and the others go on.
 */
export const CONNECT_TIMEOUT_MS = 3_000
const LOCK_TIMEOUT_MS = 5_000
const STATEMENT_TIMEOUT_MS = 8_000
const QUERY_TIMEOUT_MS = 9_000
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
const TRANSACTION_TIMEOUT_MS = 12_000

/**
 * How long a connection is used, in seconds: by an old one a server may be asked for ever that is not the primary
 * any more, and takes no writes.
 */
const MAX_LIFETIME_S = 60

/** Connections for transactions. Waiting ones hold theirs, so there are more than cores to use them. */
const POOL_SIZE = 20

/** Options of every pool: `size` connections at the most, none of which waits for ever. */
export const poolConfig = (databaseUrl: string, size = POOL_SIZE): pg.PoolConfig => ({
  connectionString: databaseUrl,
  max: size,
  connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  maxLifetimeSeconds: MAX_LIFETIME_S,
  lock_timeout: LOCK_TIMEOUT_MS,
  statement_timeout: STATEMENT_TIMEOUT_MS,
  query_timeout: QUERY_TIMEOUT_MS,
  idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
  keepAlive: true,
  // Whoever has waited for a lock must see what was committed meanwhile, whatever is the default of the role.
  options: '-c default_transaction_isolation=read\\ committed',
  application_name: 'porthor',
})

/** A pool that logs the loss of a connection instead of ending the process. */
export function openPool(databaseUrl: string, log: Logger, size?: number): pg.Pool {
  const pool = new pg.Pool(poolConfig(databaseUrl, size))
  pool.on('error', reportLoss(pool, log))
  return pool
}

/** The Prisma client over the pg driver. Connects when first asked; `$disconnect` closes its connections. */
export function openPrisma(databaseUrl: string, log: Logger, size?: number): PrismaClient {
  const pool = openPool(databaseUrl, log, size)
  const adapter = new PrismaPg(pool, {
    disposeExternalPool: true,
    onConnectionError: reportLoss(pool, log),
  })
  return new PrismaClient({
    adapter,
    errorFormat: 'minimal',
    transactionOptions: { maxWait: CONNECT_TIMEOUT_MS, timeout: TRANSACTION_TIMEOUT_MS },
  })
}

/** A connection that is being closed may still hear from a server that shuts down: that is no loss. */
function reportLoss(pool: pg.Pool, log: Logger): (error: Error) => void {
  const lines = new EqualLines(log)
  return ({ message }) => {
    if (!pool.ending) lines.warn(message, { fault: message }, 'lost a connection to PostgreSQL')
  }
}
