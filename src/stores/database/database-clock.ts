import { Prisma, type PrismaClient } from '../../generated/prisma/client.ts'
import { systemClock } from '../../lib/clock.ts'
import { callStore } from '../unavailable.ts'
import { formatTimestamp } from './timestamp.ts'

/**
 * How far the clock of this machine is ahead of that of the database's, in milliseconds; negative where it is
 * behind. What the query takes on its way is no difference.
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
 * The time by which a row may be ended, as SQL: `now`, held back by as much as this machine's clock is ahead of that
 * of the database's. Whoever has a wrong clock would else end what lives for everybody else.
 */
export const expiryCutoff = (now: Date): Prisma.Sql =>
  Prisma.sql`(${formatTimestamp(now)}::timestamp - greatest(interval '0',
    ${formatTimestamp(systemClock.now())}::timestamp - (statement_timestamp() AT TIME ZONE 'UTC')))`
