import { Prisma, type PrismaClient } from '../../generated/prisma/client.ts'
import { systemClock } from '../../lib/clock.ts'
import { callStore } from '../unavailable.ts'
import { formatTimestamp } from './timestamp.ts'

/**
 * Returns how far the clock of this machine is ahead of that of the database, in milliseconds; negative if it is behind.
 * The time that the query takes does not count.
 */
export async function readClockSkew(db: Pick<PrismaClient, '$queryRaw'>): Promise<number> {
  const sentAt = systemClock.now().getTime()
  const [row] = await callStore(
    'postgres',
    () => db.$queryRaw<{ ms: number }[]>`SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms`,
  )
  const receivedAt = systemClock.now().getTime()
  const read = row?.ms ?? sentAt
  if (read < sentAt) return sentAt - read
  return read > receivedAt ? receivedAt - read : 0
}

/**
 * Returns SQL of the time at which a row counts as expired: `now`, less the time by which this machine's clock is ahead of
 * the database's. A wrong clock would otherwise delete tokens that are valid on all other machines.
 */
export const expiryCutoff = (now: Date): Prisma.Sql =>
  Prisma.sql`(${formatTimestamp(now)}::timestamp - greatest(interval '0',
    ${formatTimestamp(systemClock.now())}::timestamp - (statement_timestamp() AT TIME ZONE 'UTC')))`
