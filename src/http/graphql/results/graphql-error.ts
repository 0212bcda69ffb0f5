import { GraphQLError, type GraphQLErrorExtensions } from 'graphql'
import type { Logger } from 'pino'
import {
  type ErrorCode,
  type ErrorFacts,
  PorthorError,
  RateLimitedError,
  UnauthenticatedError,
  UnavailableError,
} from '../../../domain/errors.ts'
import { redact } from '../../../domain/token.ts'
import { logUnavailable, logUnexpected } from '../../error-log.ts'
import { ERROR_STATUS } from '../../error-status.ts'

/** Code of every failure that is not an expected one. */
const UNEXPECTED = 'INTERNAL_SERVER_ERROR'

/** Code of errors in a query to which graphql-js and Yoga give none. */
const BAD_INPUT = 'BAD_USER_INPUT'

/**
 * Returns the GraphQL error for a failure: an expected one with its code, message and facts; any other with a general
 * message, and logged under the request's id.
 */
export function toGraphQLError(error: unknown, requestId: string, log: Logger): GraphQLError {
  const wrapper = error instanceof GraphQLError ? error : undefined
  const cause = rootCause(error)
  if (cause instanceof PorthorError) {
    if (cause instanceof UnavailableError) logUnavailable(cause, requestId, log)
    return located(wrapper, cause.message, {
      ...fitFacts(cause.facts),
      code: cause.code,
      ...(cause.code === 'UNAVAILABLE' && { retryable: true }),
      ...(cause instanceof RateLimitedError && { retryAfter: cause.retryAfterSeconds }),
      http: { status: ERROR_STATUS[cause.code], headers: headersOf(cause) },
    })
  }
  if (wrapper && cause instanceof GraphQLError) {
    const { code = BAD_INPUT, ...extensions } = withoutInternals(wrapper.extensions)
    return located(wrapper, wrapper.message, { ...extensions, code })
  }
  logUnexpected(cause, requestId, log)
  return located(wrapper, 'Internal error. Report it with its requestId, which is in the log too.', {
    code: UNEXPECTED,
    requestId,
    http: { status: 500 },
  })
}

function located(wrapper: GraphQLError | undefined, message: string, extensions: object): GraphQLError {
  // A syntax error has its location as positions, any other error as nodes of the query.
  const { nodes = null, source = null, positions = null, path = null } = wrapper ?? {}
  return new GraphQLError(boundMessage(message), {
    nodes,
    source,
    positions,
    path,
    extensions: { ...extensions },
  })
}

/** Returns `message` as a client may see it: without bearer strings, and not too long. */
// Redacted first: a cut could leave half of a bearer string.
export const boundMessage = (message: string): string => shorten(redact(message))

/** Returns `facts` as a client may see them: names of scopes come from clients too. */
const fitFacts = (facts: ErrorFacts): object =>
  Object.fromEntries(
    Object.entries(facts).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.map((item) => boundMessage(String(item))) : value,
    ]),
  )

/** Errors of one response: a list may have one for each of its rows. */
const MAX_ERRORS = 100

/** Returns as many of `errors` as a response may hold, those with the highest statuses first. */
export function mostSevere(errors: readonly GraphQLError[]): readonly GraphQLError[] {
  if (errors.length <= MAX_ERRORS) return errors
  return [...errors].sort((a, b) => severity(b) - severity(a)).slice(0, MAX_ERRORS)
}

function severity(error: GraphQLError): number {
  const cause = rootCause(error)
  if (cause instanceof PorthorError) return ERROR_STATUS[cause.code]
  return cause instanceof GraphQLError ? 200 : 500
}

/** Length of a message, in characters: graphql-js quotes variables in full. */
const MAX_MESSAGE_LENGTH = 1_000

/** Cuts out the middle: the end of a message says what is wrong. */
const shorten = (message: string): string =>
  message.length > MAX_MESSAGE_LENGTH
    ? `${message.slice(0, MAX_MESSAGE_LENGTH / 2)} … ${message.slice(-MAX_MESSAGE_LENGTH / 2)}`
    : message

/**
 * Removes the original error that Yoga attaches when it cannot parse JSON: it quotes the body. Yoga also derives from it
 * that the status holds for `application/json` too; without it, `spec: false` says so.
 */
function withoutInternals({ originalError, ...extensions }: GraphQLErrorExtensions): GraphQLErrorExtensions {
  if (originalError === undefined) return extensions
  const { http } = extensions
  return { ...extensions, ...(typeof http === 'object' && { http: { ...http, spec: false } }) }
}

/** Returns the error that was thrown first, below those that graphql-js wrapped around it. */
function rootCause(error: unknown): unknown {
  return error instanceof GraphQLError && error.originalError ? rootCause(error.originalError) : error
}

/** Challenges of RFC 6750 section 3, by error code. */
const CHALLENGES: Partial<Record<ErrorCode, string>> = {
  UNAUTHENTICATED:
    'Bearer realm="porthor", error="invalid_token", error_description="The token is malformed, unknown, expired or revoked"',
  INSUFFICIENT_LIFETIME:
    'Bearer realm="porthor", error="invalid_token", error_description="The token expires too soon to delegate from"',
  PERMISSION_DENIED: 'Bearer realm="porthor", error="insufficient_scope"',
}

function headersOf(error: PorthorError): Record<string, string> {
  if (error instanceof RateLimitedError) return { 'Retry-After': String(error.retryAfterSeconds) }
  // RFC 6750 3.1: the challenge to a request without credentials has no error code.
  if (error instanceof UnauthenticatedError && error.reason === 'missing') {
    return { 'WWW-Authenticate': 'Bearer realm="porthor"' }
  }
  const value = CHALLENGES[error.code]
  return value ? { 'WWW-Authenticate': value } : {}
}
