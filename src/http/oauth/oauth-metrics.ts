import { Counter, Histogram, type Registry } from 'prom-client'
import { OAUTH_ERRORS } from './oauth-error.ts'

/** Endpoints, as labels and log lines name them. */
const OAUTH_ENDPOINTS = ['token', 'introspect', 'revoke', 'metadata'] as const

export type OAuthEndpointName = (typeof OAUTH_ENDPOINTS)[number]

/** Upper bounds of the duration histogram, in seconds. */
const DURATION_BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5]

/** Metrics of the OAuth endpoints. No label has a value from a client. */
export class OAuthMetrics {
  readonly #requests
  readonly #durations

  constructor(registry: Registry) {
    this.#requests = new Counter({
      name: 'porthor_oauth_requests_total',
      help: 'Requests to the OAuth endpoints, by endpoint and outcome: ok, or the error code',
      labelNames: ['endpoint', 'outcome'],
      registers: [registry],
    })
    this.#durations = new Histogram({
      name: 'porthor_oauth_request_duration_seconds',
      help: 'Time from the head of a request to an OAuth endpoint until its response is ready',
      labelNames: ['endpoint'],
      buckets: DURATION_BUCKETS,
      registers: [registry],
    })
    for (const endpoint of OAUTH_ENDPOINTS) {
      this.#durations.zero({ endpoint })
      for (const outcome of ['ok', ...OAUTH_ERRORS]) this.#requests.inc({ endpoint, outcome }, 0)
    }
  }

  count(endpoint: OAuthEndpointName, outcome: string, durationSeconds: number): void {
    this.#requests.inc({ endpoint, outcome })
    this.#durations.observe({ endpoint }, durationSeconds)
  }
}
