import { Counter, Histogram, type Registry } from 'prom-client'
import type { ErrorCode } from '../../domain/errors.ts'

/** Outcomes of a request: `ok`, or the code of the error. */
const OUTCOMES = [
  'ok',
  'UNAUTHENTICATED',
  'INSUFFICIENT_LIFETIME',
  'PERMISSION_DENIED',
  'DELEGATION_TOO_DEEP',
  'TOO_MANY_TOKENS',
  'BAD_REQUEST',
  'NOT_FOUND',
  'UNAVAILABLE',
  'INTERNAL_SERVER_ERROR',
] as const satisfies readonly ('ok' | 'BAD_REQUEST' | 'INTERNAL_SERVER_ERROR' | ErrorCode)[]

export type AuthOutcome = (typeof OUTCOMES)[number]

/** Upper bounds of the duration histogram, in seconds: from a reuse from memory to a slow creation. */
const DURATION_BUCKETS = [0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5]

/** Counts the requests of gateways. No label has a value from a client. */
export class AuthMetrics {
  readonly #requests: Counter<'policy' | 'outcome'>
  readonly #durations: Histogram<'policy'>

  constructor(registry: Registry) {
    this.#requests = new Counter({
      name: 'porthor_auth_requests_total',
      help: 'Requests of gateways, by policy and outcome: ok, or the code of the error',
      labelNames: ['policy', 'outcome'],
      registers: [registry],
    })
    this.#durations = new Histogram({
      name: 'porthor_auth_request_duration_seconds',
      help: 'Time from a request of a gateway to its response, by policy',
      labelNames: ['policy'],
      buckets: DURATION_BUCKETS,
      registers: [registry],
    })
  }

  /** Returns what counts the requests of one policy. Its series exist from then on. */
  counterOf(policy: string): (outcome: AuthOutcome, seconds: number) => void {
    const counters = new Map(OUTCOMES.map((outcome) => [outcome, this.#requests.labels({ policy, outcome })]))
    for (const outcome of OUTCOMES) this.#requests.inc({ policy, outcome }, 0)
    this.#durations.zero({ policy })
    const durations = this.#durations.labels({ policy })
    return (outcome, seconds) => {
      counters.get(outcome)?.inc()
      durations.observe(seconds)
    }
  }
}
