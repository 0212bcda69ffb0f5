import { systemClock } from '../../../lib/clock.ts'
import type { Metrics } from '../../metrics.ts'
import type { ResultHandler } from './operation.ts'

/** Counts each operation, and the delegated token that it returned. */
export const countOperation =
  (metrics: Metrics): ResultHandler =>
  ({ context, startedAt }, result) => {
    const outcome = String(result.errors?.[0]?.extensions.code ?? 'ok')
    metrics.countOperation(outcome, (systemClock.monotonicMs() - startedAt) / 1000)
    metrics.countDelegation(context.trace.source)
    return result
  }
