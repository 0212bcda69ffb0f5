import { type AnswerError, PorthorClientError } from './error.ts'

/** A bearer string, or what gives the one to use now; asked before every request. */
export type TokenSource = string | (() => string | Promise<string>)

export interface ConnectionOptions {
  /** Where the API is, such as `https://porthor.example.org/graphql`. */
  readonly url: string | URL
  readonly token: TokenSource
  /** In place of the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined
  /** Sent along with every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** How long a request may take as a whole, in milliseconds. Default: 30,000. */
  readonly timeoutMs?: number | undefined
}

/**
 * Sends an operation that asks for one field, and answers with that field.
 *
 * @throws {PorthorClientError}
 */
export type Send = (field: string, document: string, variables?: object) => Promise<unknown>

const DEFAULT_TIMEOUT_MS = 30_000

/** Longest delay of a timer: a longer one would end at once. */
const MOST_TIMEOUT_MS = 2 ** 31 - 1

// Another text is not sent: no server would take it, and where HTTP cannot carry it `fetch` quotes it in its error.
const TOKEN = /^gt-[\w-]{22}\.[\w-]{22}$/

/** @throws {TypeError} for options that no request can be made with; never with a secret in it. */
export function openConnection(options: ConnectionOptions): Send {
  const { token, fetch = globalThis.fetch, timeoutMs = DEFAULT_TIMEOUT_MS } = options
  const endpoint = parseEndpoint(options.url)
  const place = endpoint.origin + endpoint.pathname
  const headers = parseHeaders(options.headers)
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > MOST_TIMEOUT_MS) {
    throw new TypeError(`timeoutMs must be a whole number from 1 to ${MOST_TIMEOUT_MS}`)
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
    const { status, text } = await exchange(fetch, endpoint, request).catch((error: unknown) => {
      throw new PorthorClientError(`${place} gave no answer: ${reasonOf(error, timeoutMs)}`, {
        code: 'NETWORK_ERROR',
        retryable: true,
      })
    })
    const { data, errors } = parseAnswer(text)
    if (data && field in data && !errors) return data[field]
    // Whatever it is that answered, it might have put our own header into its errors.
    throw failureOf(place, status, parseAnswer(text.replaceAll(bearer, '[token]')).errors)
  }
}

function parseEndpoint(url: string | URL): URL {
  const endpoint = URL.canParse(url) ? new URL(url) : undefined
  if (!endpoint || !['http:', 'https:'].includes(endpoint.protocol)) {
    throw new TypeError('url must begin with https:// or http://')
  }
  if (endpoint.username || endpoint.password) throw new TypeError('url must not hold a username or password')
  return endpoint
}

function parseHeaders(headers: Readonly<Record<string, string>> = {}): Headers {
  try {
    return new Headers(headers)
  } catch {
    throw new TypeError('headers holds a name or a value that HTTP cannot carry')
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
  throw new PorthorClientError('The token is malformed: it should be gt-<key>.<secret>.', {
    code: 'UNAUTHENTICATED',
  })
}

async function exchange(
  fetch: typeof globalThis.fetch,
  endpoint: URL,
  request: RequestInit,
): Promise<{ status: number; text: string }> {
  const response = await fetch(endpoint, request)
  return { status: response.status, text: await response.text() }
}

/** Only a name or code, such as `ECONNREFUSED`: the message of a foreign `fetch` could quote the request. */
function reasonOf(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return 'unknown reason'
  if (error.name === 'TimeoutError') return `not within ${timeoutMs} ms`
  const { code = error.name } = (error.cause ?? error) as { code?: unknown }
  return String(code)
}

interface Answer {
  readonly data?: Readonly<Record<string, unknown>> | undefined
  readonly errors?: readonly AnswerError[] | undefined
}

/** What is not there, or not as GraphQL has it, is left out. */
function parseAnswer(text: string): Answer {
  try {
    const { data, errors } = JSON.parse(text) as Record<string, unknown>
    return {
      data: isRecord(data) ? data : undefined,
      errors: Array.isArray(errors) && errors.length > 0 && errors.every(isAnswerError) ? errors : undefined,
    }
  } catch {
    return {}
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null

const isAnswerError = (value: unknown): value is AnswerError =>
  isRecord(value) && typeof value.message === 'string'

function failureOf(place: string, status: number, errors: readonly AnswerError[] = []): PorthorClientError {
  const { message: reason, extensions } = errors[0] ?? {}
  if (reason !== undefined && typeof extensions?.code === 'string') {
    const retryable = extensions.retryable === true
    return new PorthorClientError(reason, { code: extensions.code, status, retryable, errors })
  }
  // Every error of Porthor has a code. This is a proxy's answer, or that of another server.
  const message = `${place} answered with HTTP status ${status}, and not as Porthor does`
  return new PorthorClientError(isElsewhere(status) ? `${message}: its API is at /graphql` : message, {
    code: 'NETWORK_ERROR',
    status,
    retryable: status >= 500 || status === 429,
    errors,
  })
}

/** Whether somebody says that it is not to be had here, as Porthor does of its root and of all that it has not got. */
const isElsewhere = (status: number): boolean => (status >= 300 && status < 400) || status === 404
