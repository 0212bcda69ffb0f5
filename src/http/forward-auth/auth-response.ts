import type { IncomingMessage, ServerResponse } from 'node:http'

/** A response to a gateway. */
export interface AuthResponse {
  readonly status: number
  /** Names and values in turn. */
  readonly headers: readonly string[]
  readonly body: string
}

const NO_STORE = ['Cache-Control', 'no-store'] as const

/** Returns a response by which a request passes: without a body. */
export const allow = (headers: readonly string[]): AuthResponse => ({
  status: 200,
  headers: [...NO_STORE, ...headers],
  body: '',
})

/** Error codes of RFC 6750, section 3.1. */
export type BearerError = 'invalid_request' | 'invalid_token' | 'insufficient_scope'

export interface Refusal {
  readonly status: number
  /** In a challenge for 401 and 403. `undefined`: the request presented nothing (RFC 6750, section 3.1). */
  readonly error?: BearerError
  /** What is wrong, and what would be right. Clients see it. */
  readonly message: string
  /** Scopes of the challenge. */
  readonly scope?: string
}

/** Returns a response by which a request is refused. */
export function refuse(refusal: Refusal, headers: readonly string[], realm = 'porthor'): AuthResponse {
  const { status, error, message, scope } = refusal
  const facts = { error: error ?? STATUS_ERRORS[status], error_description: message, ...(scope && { scope }) }
  return {
    status,
    headers: [
      ...NO_STORE,
      ...headers,
      ...['Content-Type', 'application/json; charset=utf-8'],
      ...(status === 401 || status === 403 ? ['WWW-Authenticate', challenge(refusal, realm)] : []),
      ...(status === 503 ? ['Retry-After', '1'] : []),
    ],
    body: `${JSON.stringify(facts)}\n`,
  }
}

/** Member `error` of a body where the challenge has none. */
const STATUS_ERRORS: Readonly<Record<number, string>> = {
  400: 'invalid_request',
  401: 'missing_token',
  404: 'unknown_policy',
  500: 'server_error',
  503: 'temporarily_unavailable',
}

function challenge({ error, message, scope }: Refusal, realm: string): string {
  const bearer = `Bearer realm="${realm}"`
  if (error === undefined) return bearer
  const facts = `${bearer}, error="${error}", error_description="${message}"`
  return scope === undefined ? facts : `${facts}, scope="${scope}"`
}

/**
 * Writes a response. A request that announces a body is the last of its connection: a gateway that leaves the body out
 * would send its next request where the body is expected.
 *
 * As on the API's port, all requests that arrived together are handled before their responses are written.
 */
export function writeAuthResponse(
  request: IncomingMessage,
  response: ServerResponse,
  { status, headers, body }: AuthResponse,
): void {
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers
  const hasBody = (length !== undefined && length !== '0') || coding !== undefined
  setImmediate(() => {
    if (hasBody) response.shouldKeepAlive = false
    response
      .writeHead(status, [...headers, 'Content-Length', String(Buffer.byteLength(body))])
      .end(request.method === 'HEAD' ? undefined : body)
  })
}
