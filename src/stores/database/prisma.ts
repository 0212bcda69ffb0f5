import { PrismaPg } from '@prisma/adapter-pg'
import pg from 'pg'
import type { Logger } from 'pino'
import { PrismaClient } from '../../generated/prisma/client.ts'
import { parsePostgresUrl } from '../../lib/postgres-url.ts'
import { RepeatLimitedLog } from '../../lib/repeat-limited-log.ts'
import { CONNECT_TIMEOUT_MS, clientClass, clientConfig } from './postgres-client.ts'

/** How long a transaction of few statements may take, in milliseconds, from waiting for a connection to its end. */
export const TRANSACTION_TIMEOUT_MS = 8_000

/**
 * How long a connection is used, in seconds: by an old one a server may be asked for ever that is not the primary
 * any more, and takes no writes.
 */
const MAX_LIFETIME_S = 60

/** Connections for transactions. Waiting ones hold theirs, so there are more than cores to use them. */
const POOL_SIZE = 20

/**
 * A pool of at most `size` connections, none of which waits for ever, that logs the loss of one instead of ending
 * the process. `connection_limit` of the URL is the size of each pool.
 */
export function openPool(databaseUrl: string, log: Logger, size = POOL_SIZE): pg.Pool {
  const pool = new pg.Pool({
    ...clientConfig(databaseUrl),
    Client: clientClass(databaseUrl),
    max: parsePostgresUrl(databaseUrl).connectionLimit ?? size,
    maxLifetimeSeconds: MAX_LIFETIME_S,
  })
  pool.on('error', reportLoss(pool, log))
  return pool
}

/**
 * The Prisma client over the pg driver. Connects to PostgreSQL when first asked; `$disconnect` closes its connections.
 * `$connect` loads the engine and does not connect: what keeps it from being loaded is kept by Prisma for ever.
 */
export function openPrisma(databaseUrl: string, log: Logger, size?: number): PrismaClient {
  const pool = openPool(databaseUrl, log, size)
  const adapter = new PrismaPg(pool, {
    disposeExternalPool: true,
    schema: parsePostgresUrl(databaseUrl).schema,
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
  const lines = new RepeatLimitedLog(log)
  return ({ message }) => {
    if (!pool.ending) lines.warn(message, { reason: message }, 'lost a connection to PostgreSQL')
  }
}
