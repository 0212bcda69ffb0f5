/** Codes of all expected failures. */
export const ERROR_CODES = [
  'UNAUTHENTICATED',
  'INSUFFICIENT_LIFETIME',
  'PERMISSION_DENIED',
  'INVALID_SCOPES',
  'INVALID_SERVICE',
  'INVALID_MINIMUM_LIFETIME',
  'INVALID_EXPIRES',
  'INVALID_USERNAME',
  'INVALID_TOKEN_NAME',
  'DUPLICATE_TOKEN_NAME',
  'INVALID_USER_INFO',
  'INVALID_IP_ADDRESS',
  'INVALID_CURSOR',
  'INVALID_PAGE_SIZE',
  'INVALID_FILTER',
  'DELEGATION_TOO_DEEP',
  'TOO_MANY_TOKENS',
  'RATE_LIMITED',
  'NOT_FOUND',
  'RESPONSE_TOO_LARGE',
  'UNAVAILABLE',
] as const

export type ErrorCode = (typeof ERROR_CODES)[number]

/**
 * Values that an error states, for programs: fields of its `extensions` in an API response. Clients see them, so they
 * hold no secret. A list of what the client sent is cut to `MAX_LISTED`.
 */
export interface ErrorFacts {
  /** Least and greatest accepted value: a number in the unit of the message, or a time in ISO 8601, UTC. */
  readonly minimum?: number | string
  readonly maximum?: number | string
  readonly maximumBytes?: number
  readonly maximumValues?: number
  /** ECMAScript regular expression that the value must match. */
  readonly pattern?: string
  /** Paths of the input fields that are not valid. */
  readonly fields?: readonly string[]
  /** CIDR block that has no bits set after its prefix. */
  readonly network?: string
  readonly unknownScopes?: readonly string[]
  readonly knownScopes?: readonly string[]
  /** Requested scopes that the current token does not hold. */
  readonly missingScopes?: readonly string[]
  /** Scopes that the current token holds. */
  readonly heldScopes?: readonly string[]
  /** Requested scopes that are never delegated. */
  readonly undelegableScopes?: readonly string[]
  /** Service that may not be given a token, or not with the requested scopes. */
  readonly service?: string
  /** Requested scopes that the service may not be given. */
  readonly excessScopes?: readonly string[]
  /** Scopes that the service may be given. */
  readonly permittedScopes?: readonly string[]
  /** Request header with a token that is not valid, where that is not the current token. */
  readonly header?: string
  /** Scopes of which the current token must hold one. */
  readonly sufficientScopes?: readonly string[]
}

/** Items of a list in `ErrorFacts` that a client could make any length. */
export const MAX_LISTED = 20

export interface PorthorErrorOptions extends ErrorOptions {
  readonly facts?: ErrorFacts
}

/**
 * An expected failure. Clients see `message` and `facts`; `cause` is for the log. Any other error is a bug, and its
 * text is replaced before it reaches a client.
 */
export class PorthorError extends Error {
  override readonly name = 'PorthorError'
  readonly code: ErrorCode
  readonly facts: ErrorFacts

  constructor(code: ErrorCode, message: string, { facts = {}, ...options }: PorthorErrorOptions = {}) {
    super(message, options)
    this.code = code
    this.facts = facts
  }
}

/** Which of the tokens of a request: the one that makes it, or the one that a gateway names in it. */
export type TokenRole = 'current' | 'subject'

/**
 * A missing, malformed, unknown, expired or revoked token. Only a missing one has another message, and one that a gateway
 * names for its user.
 */
export class UnauthenticatedError extends PorthorError {
  /** Which of them it is, for the log only. */
  readonly reason: UnauthenticatedReason
  /** Whose log-in is over: the caller's, or that of the user for whom a gateway calls. */
  readonly role: TokenRole

  constructor(reason: UnauthenticatedReason, role: TokenRole = 'current') {
    super('UNAUTHENTICATED', messageOf(reason, role), role === 'subject' ? { facts: SUBJECT_FACTS } : {})
    this.reason = reason
    this.role = role
  }
}

/** Name of the request header in which a gateway sends the user's token, as `Bearer <token>`. */
export const SUBJECT_HEADER = 'X-Porthor-Subject-Token'

const SUBJECT_FACTS: ErrorFacts = { header: SUBJECT_HEADER }

function messageOf(reason: UnauthenticatedReason, role: TokenRole): string {
  if (role === 'subject') {
    return reason === 'malformed'
      ? `The token of the user is malformed: the gateway must send "${SUBJECT_HEADER}: Bearer <token>".`
      : 'The token of the user is unknown, expired or revoked: the user must log in again.'
  }
  return reason === 'missing'
    ? 'A valid token is required: send "Authorization: Bearer <token>".'
    : 'The token is malformed, unknown, expired or revoked: log in again, and send "Authorization: Bearer <token>" with a valid one.'
}

export type UnauthenticatedReason = 'missing' | 'malformed' | 'unknown' | 'wrong secret' | 'desynchronised'

/** A token is not valid, after too many others from the same address were not valid either. */
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

/** There is no such token, or the actor may not see it: the error does not say which. */
export const notFound = (key: string): PorthorError =>
  new PorthorError(
    'NOT_FOUND',
    `There is no token with the key ${JSON.stringify(key)}, or you may not see it.`,
  )

/**
 * A store did not respond in time or is unreachable: unknown is not invalid, and the request can be repeated. The
 * message says whether anything was changed only where that is known.
 */
export class UnavailableError extends PorthorError {
  readonly store: 'redis' | 'postgres'

  constructor(store: 'redis' | 'postgres', cause: unknown, message = UNAVAILABLE) {
    super('UNAVAILABLE', message, { cause })
    this.store = store
  }
}

const UNAVAILABLE = 'A storage service did not respond in time: please try again.'

/** A change that is recorded, and that is completed in the other store without another request. */
export const decidedButPending = (what: string, { store, cause }: UnavailableError): UnavailableError =>
  new UnavailableError(
    store,
    cause,
    `${what} is recorded and will be completed: a storage service did not respond in time. Repeat the request to learn whether it is complete.`,
  )
