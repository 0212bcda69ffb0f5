import { PorthorError, RateLimitedError } from '../../domain/errors.ts'
import { ERROR_STATUS } from '../error-status.ts'
import type { PreparedResponse } from '../response.ts'
import type { OAuthResult } from './endpoint.ts'
import { OAuthError, temporarilyUnavailable } from './oauth-error.ts'

/** RFC 6749 5.1 and 5.2 require both of every response of the token endpoint; caches keep none of the others either. */
const NOT_CACHED = { 'Cache-Control': 'no-store', Pragma: 'no-cache' }

export function toResponse({ body, headers }: OAuthResult, status = 200): PreparedResponse {
  const text = body === undefined ? '' : JSON.stringify(body)
  return {
    status,
    headers: {
      ...(body !== undefined && { 'Content-Type': 'application/json; charset=utf-8' }),
      'Content-Length': String(Buffer.byteLength(text)),
      ...NOT_CACHED,
      ...headers,
    },
    body: text,
  }
}

export const toErrorResponse = ({ error, message, status, headers }: OAuthError): PreparedResponse =>
  toResponse({ body: { error, error_description: message }, headers }, status)

/**
 * Returns the response to a failure that no endpoint expects: a store that does not respond, an address over its limit, or
 * a bug.
 *
 * @param requestId Names a bug in the log.
 */
export function toOAuthError(error: unknown, requestId: string): OAuthError {
  if (error instanceof OAuthError) return error
  if (error instanceof RateLimitedError) {
    return new OAuthError('temporarily_unavailable', error.message, {
      status: ERROR_STATUS.RATE_LIMITED,
      headers: { 'Retry-After': String(error.retryAfterSeconds) },
    })
  }
  if (error instanceof PorthorError && error.code === 'UNAVAILABLE')
    return temporarilyUnavailable(error.message)
  return new OAuthError('server_error', `Internal error. Report it with its request id: ${requestId}.`, {
    status: 500,
  })
}
