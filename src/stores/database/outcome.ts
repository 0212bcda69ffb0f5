import { setTimeout as delay } from 'node:timers/promises'
import type { PrismaClient } from '../../generated/prisma/client.ts'
import { systemClock } from '../../lib/clock.ts'

type Queryable = Pick<PrismaClient, '$queryRaw'>

/** Time between two looks at a transaction that is not decided yet, in milliseconds. */
const LOOK_AGAIN_MS = 100

/** Looks at a transaction in progress before the session that it belongs to is ended. */
const PATIENT_LOOKS = 3

/** The id of the transaction that `tx` is; `undefined` while it has written nothing. */
export async function findTransactionId(tx: Queryable): Promise<string | undefined> {
  const [row] = await tx.$queryRaw<{ id: string | null }[]>`
    SELECT pg_current_xact_id_if_assigned()::text AS id`
  return row?.id ?? undefined
}

/**
 * Whether the transaction was committed, looked up until `deadlineAt` (of `systemClock.monotonicMs()`); `unknown` where
 * PostgreSQL cannot be asked, or has not decided by then. One whose connection is lost without the server
 * having noticed is ended there, so that a COMMIT which is still on its way decides nothing later.
 */
export async function findOutcome(
  db: Queryable,
  id: string,
  deadlineAt: number,
): Promise<'committed' | 'aborted' | 'unknown'> {
  for (let look = 1; systemClock.monotonicMs() < deadlineAt; look += 1) {
    const status = await findStatus(db, id, look > PATIENT_LOOKS).catch(() => 'unreachable')
    if (status === 'committed' || status === 'aborted') return status
    if (status === null) return 'unknown'
    await delay(LOOK_AGAIN_MS)
  }
  return 'unknown'
}

async function findStatus(db: Queryable, id: string, isToBeEnded: boolean): Promise<string | null> {
  if (isToBeEnded) {
    // Of the very transaction: the session may be at another one by now.
    await db.$queryRaw`
      SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE backend_xid = ${id}::xid8::xid`
  }
  const [row] = await db.$queryRaw<{ status: string | null }[]>`
    SELECT pg_xact_status(${id}::xid8) AS status`
  return row?.status ?? null
}
