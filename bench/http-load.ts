import autocannon from 'autocannon'
import { percentile } from './support.ts'

/** A POST of JSON, or a GET. */
export type HttpRequest =
  | { readonly body: string; readonly token?: string }
  | { readonly method: 'GET'; readonly headers: Readonly<Record<string, string>> }

export interface HttpLoad {
  readonly url: string
  readonly connections: number
  /** Requests that are sent in turn and repeated, or a function that creates each request. */
  readonly requests: readonly HttpRequest[] | (() => HttpRequest)
  /** Duration, or number of requests. */
  readonly until: { readonly seconds: number } | { readonly amount: number }
}

export interface HttpResult {
  /** Responses per second. */
  readonly rate: number
  /** Median and 99th percentile of the response time, in milliseconds. */
  readonly p50: number
  readonly p99: number
}

function toAutocannon(request: HttpRequest): autocannon.Request {
  if ('method' in request) return { method: request.method, headers: { ...request.headers } }
  const { body, token } = request
  return {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) },
    body,
  }
}

const limitOf = (until: HttpLoad['until']) =>
  'seconds' in until ? { duration: until.seconds } : { amount: until.amount }

/**
 * Keeps each connection busy with one request after the other.
 *
 * @throws {Error} A response is not a success.
 */
export async function loadHttp({ url, connections, requests, until }: HttpLoad): Promise<HttpResult> {
  const times: number[] = []
  const options =
    typeof requests === 'function'
      ? [{ setupRequest: (request: object) => ({ ...request, ...toAutocannon(requests()) }) }]
      : requests.map(toAutocannon)
  const result = await new Promise<autocannon.Result>((resolve, reject) => {
    const run = autocannon({ url, connections, requests: options, ...limitOf(until) }, (error, done) =>
      error ? reject(error) : resolve(done),
    )
    run.on('response', (_client, _status, _bytes, ms) => times.push(ms))
  })
  const { non2xx, errors, duration, requests: responses } = result
  if (non2xx + errors > 0) throw new Error(`${non2xx + errors} of ${responses.total} requests failed`)
  return { rate: responses.total / duration, p50: percentile(times, 0.5), p99: percentile(times, 0.99) }
}
