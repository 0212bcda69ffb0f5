import { setTimeout as delay } from 'node:timers/promises'
import type { Prisma, PrismaClient } from '../../generated/prisma/client.ts'
import { systemClock } from '../../lib/clock.ts'
import { withinMs, withMoreMs } from '../deadline.ts'
import { isConflict, isUnavailable } from '../unavailable.ts'
import { findOutcome } from './outcome.ts'

export interface TransactionOptions {
  /** How long all tries of the transaction may take together, in milliseconds. */
  readonly timeoutMs: number
  /** How long it is looked up whether a COMMIT without a response was carried out, in milliseconds. */
  readonly lookupMs: number
}

/** A transaction that PostgreSQL gives up for the sake of another one is run so often in all. */
const MAX_TRIES = 5

/** The longest pause before the second try, in milliseconds; it doubles with each one. */
const FIRST_PAUSE_MS = 20

/** What a transaction has come to when nothing but its COMMIT is left. */
export interface Finished<T> {
  readonly answer: T
  /** `undefined` where nothing was written. */
  readonly transactionId: string | undefined
}

/**
 * Runs `work` in a transaction: committed when this resolves, undone when it throws, where that can be found out.
 * `work` is run again after a deadlock or a serialization failure. When the connection is lost after COMMIT went
 * out, another one is asked what became of it.
 */
export async function runTransaction<T>(
  prisma: PrismaClient,
  work: (tx: Prisma.TransactionClient) => Promise<Finished<T>>,
  { timeoutMs, lookupMs }: TransactionOptions,
): Promise<T> {
  const startedAt = systemClock.monotonicMs()
  const left = () => timeoutMs - (systemClock.monotonicMs() - startedAt)
  for (let tries = 1; ; tries += 1) {
    let finished: Finished<T> | undefined
    try {
      return await withinMs(left(), () =>
        prisma.$transaction(
          async (tx) => {
            finished = await work(tx)
            return finished.answer
          },
          { timeout: Math.max(1, Math.ceil(left())) },
        ),
      )
    } catch (error) {
      if (finished && !isConflict(error) && isUnavailable(error)) {
        return await withMoreMs(lookupMs, () =>
          answerIfCommitted(prisma, finished as Finished<T>, error, lookupMs),
        )
      }
      const pauseMs = Math.random() * FIRST_PAUSE_MS * 2 ** tries
      if (!isConflict(error) || tries === MAX_TRIES || left() < pauseMs) throw error
      await delay(pauseMs)
    }
  }
}

/** @throws the error with which the word of the commit was lost, where it was not carried out, as far as is known. */
async function answerIfCommitted<T>(
  prisma: PrismaClient,
  { answer, transactionId }: Finished<T>,
  error: unknown,
  lookupMs: number,
): Promise<T> {
  if (transactionId === undefined) return answer
  const outcome = await findOutcome(prisma, transactionId, systemClock.monotonicMs() + lookupMs)
  if (outcome === 'committed') return answer
  throw error
}
