import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client'
import type { DelegationSource } from '../services/delegation/token-cache-service.ts'
import { OAuthMetrics } from './oauth/oauth-metrics.ts'

/** Upper bounds of the duration histogram, in seconds: from a reuse to a slow creation. */
const DURATION_BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5]

/** Metrics of `/metrics`, in the format of Prometheus. No label has a value from a client. */
export class Metrics {
  readonly registry = new Registry()
  readonly oauth = new OAuthMetrics(this.registry)

  readonly #operations = new Counter({
    name: 'porthor_operations_total',
    help: 'Executed GraphQL operations, by outcome: ok, or the code of the first error',
    labelNames: ['outcome'],
    registers: [this.registry],
  })
  readonly #delegations = new Counter({
    name: 'porthor_delegated_tokens_total',
    help: 'Delegated tokens that were returned, by source: cache, database or new',
    labelNames: ['source'],
    registers: [this.registry],
  })
  readonly #durations = new Histogram({
    name: 'porthor_operation_duration_seconds',
    help: 'Execution time of GraphQL operations',
    buckets: DURATION_BUCKETS,
    registers: [this.registry],
  })

  constructor() {
    collectDefaultMetrics({ register: this.registry })
  }

  /**
   * Counts a GraphQL operation.
   *
   * @param outcome `ok`, or the code of the first error.
   */
  countOperation(outcome: string, durationSeconds: number): void {
    this.#durations.observe(durationSeconds)
    this.#operations.inc({ outcome })
  }

  /** @param source `undefined` where no token was returned. */
  countDelegation(source: DelegationSource | undefined): void {
    if (source) this.#delegations.inc({ source })
  }
}
