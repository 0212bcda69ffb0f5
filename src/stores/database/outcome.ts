import { setTimeout as delay } from 'node:timers/promises'
import type { PrismaClient } from '../../generated/prisma/client.ts'
import { systemClock } from '../../lib/clock.ts'

type Queryable = Pick<PrismaClient, '$queryRaw'>

/** Pause between two queries for a transaction in progress, in milliseconds. */
const POLL_INTERVAL_MS = 100

/** Number of queries for a transaction in progress before its session is ended. */
const POLLS_BEFORE_TERMINATION = 3

/** Returns the id of the transaction `tx`; `undefined` while it has written nothing. */
export async function findTransactionId(tx: Queryable): Promise<string | undefined> {
  const [row] = await tx.$queryRaw<{ id: string | null }[]>`
    SELECT pg_current_xact_id_if_assigned()::text AS id`
  return row?.id ?? undefined
}

/**
 * Finds whether the transaction was committed. Returns `unknown` if PostgreSQL is unavailable, or the transaction is still in
 * progress at `deadlineAt` (of `systemClock.monotonicMs()`). Ends its session if the server has not noticed the lost
 * connection, so that a COMMIT that is still in transit has no effect later.
 */
export async function findOutcome(
  db: Queryable,
  id: string,
  deadlineAt: number,
): Promise<'committed' | 'aborted' | 'unknown'> {
  for (let poll = 1; systemClock.monotonicMs() < deadlineAt; poll += 1) {
    const status = await findStatus(db, id, poll > POLLS_BEFORE_TERMINATION).catch(() => 'unreachable')
    if (status === 'committed' || status === 'aborted') return status
    if (status === null) return 'unknown'
    await delay(POLL_INTERVAL_MS)
  }
  return 'unknown'
}

async function findStatus(db: Queryable, id: string, mustTerminate: boolean): Promise<string | null> {
  if (mustTerminate) {
    // By the transaction's id: the session may run another transaction by now.
    await db.$queryRaw`
      SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE backend_xid = ${id}::xid8::xid`
  }
  const [row] = await db.$queryRaw<{ status: string | null }[]>`
    SELECT pg_xact_status(${id}::xid8) AS status`
  return row?.status ?? null
}
