import type { ServerResponse } from 'node:http'
import { Gauge } from 'prom-client'
import type { App } from '../app.ts'
import { Metrics } from './metrics.ts'
import { respond } from './response.ts'

/** Paths of the probes and of the metrics. */
const PATHS = ['/livez', '/readyz', '/metrics'] as const

type MonitoringPath = (typeof PATHS)[number]

const stateOf = (isPossible: boolean): 'ok' | 'unavailable' => (isPossible ? 'ok' : 'unavailable')

/** Responds to the probes of a server, and to requests for its metrics. */
export class Monitoring {
  readonly metrics = new Metrics()
  readonly #app: Pick<App, 'checkStores'>
  #isStopping = false

  constructor(app: Pick<App, 'checkStores'>) {
    this.#app = app
    const available = new Gauge({
      name: 'porthor_available',
      help: 'Whether the stores make it possible to check tokens (tokens), and to issue and revoke them (issuing): 1 or 0',
      labelNames: ['operation'],
      registers: [this.metrics.registry],
      collect: async () => {
        const { tokens, issuing } = await app.checkStores()
        available.set({ operation: 'tokens' }, Number(tokens))
        available.set({ operation: 'issuing' }, Number(issuing))
      },
    })
  }

  /** From now on the server is not ready, so that no new requests are sent to it. */
  stop(): void {
    this.#isStopping = true
  }

  /** Responds to a request for one of its paths. Returns whether it was one. */
  handle(path: string | undefined, response: ServerResponse): boolean {
    const known = PATHS.find((each) => each === path)
    if (known === undefined) return false
    this.#respond(known, response).catch(() => response.destroy())
    return true
  }

  async #respond(path: MonitoringPath, response: ServerResponse): Promise<void> {
    const { registry } = this.metrics
    if (path === '/livez') respond(response, 200, 'alive\n')
    else if (path === '/metrics') respond(response, 200, await registry.metrics(), registry.contentType)
    else await this.#respondReadiness(response)
  }

  /** Ready is who can check tokens: most requests reuse a token, which needs no PostgreSQL where there is a Redis. */
  async #respondReadiness(response: ServerResponse): Promise<void> {
    const { tokens, issuing, reason } = await this.#app.checkStores()
    const body = {
      tokens: stateOf(tokens),
      issuing: stateOf(issuing),
      ...(reason !== undefined && { reason }),
      ...(this.#isStopping && { stopping: true }),
    }
    const status = tokens && !this.#isStopping ? 200 : 503
    respond(response, status, `${JSON.stringify(body)}\n`, 'application/json; charset=utf-8')
  }
}
