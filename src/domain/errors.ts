/** Every expected failure, by the code that a client sees, with the HTTP status of an answer that fails so. */
export const ERROR_STATUS = {
  UNAUTHENTICATED: 401,
  INSUFFICIENT_LIFETIME: 401,
  PERMISSION_DENIED: 403,
  INVALID_SCOPES: 200,
  INVALID_SERVICE: 200,
  INVALID_MINIMUM_LIFETIME: 200,
  INVALID_EXPIRES: 200,
  INVALID_USERNAME: 200,
  INVALID_TOKEN_NAME: 200,
  DUPLICATE_TOKEN_NAME: 200,
  INVALID_USER_INFO: 200,
  INVALID_IP_ADDRESS: 200,
  INVALID_CURSOR: 200,
  INVALID_PAGE_SIZE: 200,
  INVALID_FILTER: 200,
  DELEGATION_TOO_DEEP: 403,
  TOO_MANY_TOKENS: 429,
  RATE_LIMITED: 429,
  NOT_FOUND: 200,
  RESPONSE_TOO_LARGE: 200,
  UNAVAILABLE: 503,
} as const

export type ErrorCode = keyof typeof ERROR_STATUS

/**
 * An expected failure. `message` is fit for the client's eyes; what helps only us goes into `cause`.
 * Anything that is not one of these is a bug, and is masked before it reaches a client.
 */
export class PorthorError extends Error {
  override readonly name = 'PorthorError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** No, malformed, unknown, expired or revoked token. One message for all, so that it tells nothing apart. */
export class UnauthenticatedError extends PorthorError {
  /** What was wrong, for the log only. */
  readonly reason: UnauthenticatedReason

  constructor(reason: UnauthenticatedReason) {
    super(
      'UNAUTHENTICATED',
      reason === 'missing'
        ? 'A valid token is needed: send "Authorization: Bearer <token>".'
        : 'The token is malformed, unknown, expired or revoked: log in again, and send "Authorization: Bearer <token>" with a valid one.',
    )
    this.reason = reason
  }
}

export type UnauthenticatedReason = 'missing' | 'malformed' | 'unknown' | 'wrong secret' | 'desynchronised'

/** A token is not valid, and too many others from the same address were not. */
export class RateLimitedError extends PorthorError {
  readonly retryAfterSeconds: number

  constructor(retryAfterSeconds: number) {
    super(
      'RATE_LIMITED',
      `Too many tokens from your address were not valid: log in again, and send a valid one in ${retryAfterSeconds} s.`,
    )
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** There is no such token, or the actor may not see it: the answer is the same. */
export const notFound = (key: string): PorthorError =>
  new PorthorError('NOT_FOUND', `There is no token ${JSON.stringify(key)}, or it is not yours to see.`)

/**
 * A store did not answer in time or cannot be reached: unknown is not invalid, and the call can be repeated. Whether
 * anything was done the message says only where that is known.
 */
export class UnavailableError extends PorthorError {
  readonly store: 'redis' | 'postgres'

  constructor(store: 'redis' | 'postgres', cause: unknown, message = UNAVAILABLE) {
    super('UNAVAILABLE', message, { cause })
    this.store = store
  }
}

const UNAVAILABLE = 'A storage service did not answer in time: please try again.'

/** What was decided holds, though a store is yet to follow: it is completed without another call. */
export const decidedButPending = (what: string, { store, cause }: UnavailableError): UnavailableError =>
  new UnavailableError(
    store,
    cause,
    `${what} is recorded and will be completed: a storage service did not answer in time. To know when it is, repeat the call.`,
  )
