import { AsyncLocalStorage } from 'node:async_hooks'
import { systemClock } from '../lib/clock.ts'

const deadlines = new AsyncLocalStorage<number>()

/**
 * Runs `work`, whose queries are all given up when `limitMs` have passed, however many follow each other. An outer
 * deadline that comes sooner counts.
 */
export const withinMs = <T>(limitMs: number, work: () => Promise<T>): Promise<T> =>
  deadlines.run(systemClock.monotonicMs() + Math.min(limitMs, remainingMs()), work)

/** As `withinMs`, though the outer deadline may have passed: what sets a failure right is not to fail by it. */
export const withMoreMs = <T>(limitMs: number, work: () => Promise<T>): Promise<T> =>
  deadlines.run(systemClock.monotonicMs() + limitMs, work)

/** Milliseconds to the deadline that the caller works under: infinite without one, and never less than 1. */
export function remainingMs(): number {
  const deadline = deadlines.getStore()
  return deadline === undefined ? Number.POSITIVE_INFINITY : Math.max(1, deadline - systemClock.monotonicMs())
}
