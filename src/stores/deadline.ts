import { AsyncLocalStorage } from 'node:async_hooks'
import { systemClock } from '../lib/clock.ts'

const deadlines = new AsyncLocalStorage<number>()

/**
 * Runs `work`. All its queries together end when `limitMs` have passed, or at an earlier deadline of the caller.
 */
export const withinMs = <T>(limitMs: number, work: () => Promise<T>): Promise<T> =>
  deadlines.run(systemClock.monotonicMs() + Math.min(limitMs, remainingMs()), work)

/** Like `withinMs`, but ignores the deadline of the caller: to correct a failure must be possible after that. */
export const withMoreMs = <T>(limitMs: number, work: () => Promise<T>): Promise<T> =>
  deadlines.run(systemClock.monotonicMs() + limitMs, work)

/** Runs `work` without the deadline of the caller: what it opens outlives the caller. */
export const withoutDeadline = <T>(work: () => T): T => deadlines.exit(work)

/** Returns the milliseconds to the deadline of the caller: infinity if there is none, and at least 1. */
export function remainingMs(): number {
  const deadline = deadlines.getStore()
  return deadline === undefined ? Number.POSITIVE_INFINITY : Math.max(1, deadline - systemClock.monotonicMs())
}
