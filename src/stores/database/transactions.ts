import { setTimeout as delay } from 'node:timers/promises'
import type { Prisma, PrismaClient } from '../../generated/prisma/client.ts'
import { systemClock } from '../../lib/clock.ts'
import { withinMs, withMoreMs } from '../deadline.ts'
import { isConflict, isUnavailable } from '../unavailable.ts'
import { findOutcome } from './outcome.ts'

export interface TransactionOptions {
  /** Maximum time of all attempts together, in milliseconds. */
  readonly timeoutMs: number
  /** Maximum time to find the outcome of a COMMIT without a response, in milliseconds. */
  readonly lookupMs: number
}

/** Maximum number of attempts of a transaction that PostgreSQL aborts in favour of another one. */
const MAX_ATTEMPTS = 5

/** Maximum pause before the second attempt, in milliseconds. It doubles with each further attempt. */
const FIRST_PAUSE_MS = 20

/** A transaction that is complete except for its COMMIT. */
export interface Finished<T> {
  readonly result: T
  /** `undefined` if nothing was written. */
  readonly transactionId: string | undefined
}

/**
 * Runs `work` in a transaction. It is committed when this resolves, and not committed when it throws, unless the outcome is
 * unknown. Runs `work` again after a deadlock or a serialization failure. If the connection is lost after COMMIT was sent,
 * finds the outcome over another connection.
 */
export async function runTransaction<T>(
  prisma: PrismaClient,
  work: (tx: Prisma.TransactionClient) => Promise<Finished<T>>,
  { timeoutMs, lookupMs }: TransactionOptions,
): Promise<T> {
  const startedAt = systemClock.monotonicMs()
  const remaining = () => timeoutMs - (systemClock.monotonicMs() - startedAt)
  for (let attempt = 1; ; attempt += 1) {
    let finished: Finished<T> | undefined
    try {
      return await withinMs(remaining(), () =>
        prisma.$transaction(
          async (tx) => {
            finished = await work(tx)
            return finished.result
          },
          { timeout: Math.max(1, Math.ceil(remaining())) },
        ),
      )
    } catch (error) {
      if (finished && !isConflict(error) && isUnavailable(error)) {
        return await withMoreMs(lookupMs, () =>
          resultIfCommitted(prisma, finished as Finished<T>, error, lookupMs),
        )
      }
      const pauseMs = Math.random() * FIRST_PAUSE_MS * 2 ** attempt
      if (!isConflict(error) || attempt === MAX_ATTEMPTS || remaining() < pauseMs) throw error
      await delay(pauseMs)
    }
  }
}

/** @throws `error`, unless it is known that the transaction was committed. */
async function resultIfCommitted<T>(
  prisma: PrismaClient,
  { result, transactionId }: Finished<T>,
  error: unknown,
  lookupMs: number,
): Promise<T> {
  if (transactionId === undefined) return result
  const outcome = await findOutcome(prisma, transactionId, systemClock.monotonicMs() + lookupMs)
  if (outcome === 'committed') return result
  throw error
}
