import { type AnswerError, PorthorClientError } from './error.ts'

/** A bearer string, or a function that returns the current one; it is called before every request. */
export type TokenSource = string | (() => string | Promise<string>)

export interface ConnectionOptions {
  /** URL of the API, such as `https://porthor.example.org/graphql`. */
  readonly url: string | URL
  readonly token: TokenSource
  /** Replaces the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined
  /** Additional headers of every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Timeout of a whole request, in milliseconds. Default: 30,000. */
  readonly timeoutMs?: number | undefined
}

/**
 * Sends an operation that selects one field, and returns the value of that field.
 *
 * @throws {PorthorClientError}
 */
export type Send = (field: string, document: string, variables?: object) => Promise<unknown>

const DEFAULT_TIMEOUT_MS = 30_000

/** Longest delay of a timer in Node: a longer one would fire at once. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1

// Other texts are not sent: no server accepts them, and `fetch` quotes those that HTTP cannot carry in its error.
const TOKEN = /^gt-[\w-]{22}\.[\w-]{22}$/

const BEARER_STRING = /gt-[\w-]{22}\.[\w-]{22}/g

/** @throws {TypeError} for options that are not valid; its message never contains a secret. */
export function openConnection(options: ConnectionOptions): Send {
  const { token, fetch = globalThis.fetch, timeoutMs = DEFAULT_TIMEOUT_MS } = options
  const endpoint = parseEndpoint(options.url)
  const address = endpoint.origin + endpoint.pathname
  const headers = parseHeaders(options.headers)
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > MAX_TIMEOUT_MS) {
    throw new TypeError(`timeoutMs must be a whole number from 1 to ${MAX_TIMEOUT_MS}`)
  }

  return async (field, query, variables) => {
    const bearer = await readToken(token)
    const request = {
      method: 'POST',
      headers: withOurs(headers, bearer),
      body: JSON.stringify({ query, variables }),
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
    } as const
    const { status, text } = await sendRequest(fetch, endpoint, request).catch((error: unknown) => {
      throw new PorthorClientError(`no response from ${address}: ${reasonOf(error, timeoutMs)}`, {
        code: 'NETWORK_ERROR',
        retryable: true,
      })
    })
    const { data, errors } = parseResponse(text)
    if (data && field in data && !errors) return data[field]
    // Another server may quote headers in its errors: Authorization, or the one with which a gateway names its user.
    throw failureOf(address, status, parseResponse(text.replaceAll(BEARER_STRING, '[token]')).errors)
  }
}

function parseEndpoint(url: string | URL): URL {
  const endpoint = URL.canParse(url) ? new URL(url) : undefined
  if (!endpoint || !['http:', 'https:'].includes(endpoint.protocol)) {
    throw new TypeError('url must begin with https:// or http://')
  }
  if (endpoint.username || endpoint.password)
    throw new TypeError('url must not contain a username or password')
  return endpoint
}

function parseHeaders(headers: Readonly<Record<string, string>> = {}): Headers {
  try {
    return new Headers(headers)
  } catch {
    throw new TypeError('headers must have only names and values that are valid in HTTP')
  }
}

function withOurs(headers: Headers, bearer: string): Headers {
  const all = new Headers(headers)
  all.set('Accept', 'application/graphql-response+json, application/json')
  all.set('Content-Type', 'application/json')
  all.set('Authorization', `Bearer ${bearer}`)
  return all
}

async function readToken(source: TokenSource): Promise<string> {
  const token = typeof source === 'function' ? await source() : source
  if (TOKEN.test(token)) return token
  throw new PorthorClientError('The token is malformed: it must be gt-<key>.<secret>.', {
    code: 'UNAUTHENTICATED',
  })
}

async function sendRequest(
  fetch: typeof globalThis.fetch,
  endpoint: URL,
  request: RequestInit,
): Promise<{ status: number; text: string }> {
  const response = await fetch(endpoint, request)
  return { status: response.status, text: await response.text() }
}

/** Returns only a name or code, such as `ECONNREFUSED`: the message of another `fetch` could quote the request. */
function reasonOf(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return 'unknown reason'
  if (error.name === 'TimeoutError') return `timed out after ${timeoutMs} ms`
  const { code = error.name } = (error.cause ?? error) as { code?: unknown }
  return String(code)
}

interface GraphQLResponse {
  readonly data?: Readonly<Record<string, unknown>> | undefined
  readonly errors?: readonly AnswerError[] | undefined
}

/** Leaves out members that are missing or not those of a GraphQL response. */
function parseResponse(text: string): GraphQLResponse {
  try {
    const { data, errors } = JSON.parse(text) as Record<string, unknown>
    return {
      data: isRecord(data) ? data : undefined,
      errors:
        Array.isArray(errors) && errors.length > 0 && errors.every(isResponseError) ? errors : undefined,
    }
  } catch {
    return {}
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null

const isResponseError = (value: unknown): value is AnswerError =>
  isRecord(value) && typeof value.message === 'string'

function failureOf(address: string, status: number, errors: readonly AnswerError[] = []): PorthorClientError {
  const { message: reason, extensions } = errors[0] ?? {}
  if (reason !== undefined && typeof extensions?.code === 'string') {
    const retryable = extensions.retryable === true
    return new PorthorClientError(reason, { code: extensions.code, status, retryable, errors })
  }
  // Every error of Porthor has a code: this response is from a proxy or another server.
  const message = `the response from ${address} is not from Porthor: HTTP status ${status}`
  return new PorthorClientError(isOtherPath(status) ? `${message}; the API is at /graphql` : message, {
    code: 'NETWORK_ERROR',
    status,
    retryable: status >= 500 || status === 429,
    errors,
  })
}

/** Whether the status is a redirect or 404, as from Porthor for all paths but that of the API. */
const isOtherPath = (status: number): boolean => (status >= 300 && status < 400) || status === 404
