import type { Actor } from '../../domain/actor.ts'
import type { Clock } from '../../lib/clock.ts'

/** Maximum time until the response to a change of whole trees, in milliseconds. The change itself may take longer. */
export const MAX_RESPONSE_MS = 9_000

/** Returns a function for the milliseconds left until the response. An operator waits without a limit. */
export function startResponseTimer(clock: Clock, { kind }: Actor): () => number {
  const startedAt = clock.monotonicMs()
  return () =>
    kind === 'operator' ? Number.POSITIVE_INFINITY : MAX_RESPONSE_MS - (clock.monotonicMs() - startedAt)
}
