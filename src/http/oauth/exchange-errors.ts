import { type ErrorCode, type ErrorFacts, PorthorError } from '../../domain/errors.ts'
import { invalidRequest, OAuthError } from './oauth-error.ts'

/** The subject is no valid token, or nothing is delegated from it. */
export const invalidSubject = (): OAuthError =>
  invalidRequest('subject_token is malformed, unknown, expired or revoked: log in again.')

/** Errors of delegation in the words of RFC 8693, by code. */
const ERRORS: Partial<Record<ErrorCode, (error: PorthorError) => OAuthError>> = {
  UNAUTHENTICATED: invalidSubject,
  PERMISSION_DENIED: ({ message }) => invalidRequest(`subject_token cannot be exchanged. ${message}`),
  INSUFFICIENT_LIFETIME: ({ facts }) =>
    invalidRequest(
      `subject_token expires in less than ${facts.minimum} s, and the new token cannot outlive it: log in again.`,
    ),
  INVALID_MINIMUM_LIFETIME: ({ facts }) =>
    invalidRequest(`minimum_lifetime must be ${facts.minimum} to ${facts.maximum} seconds.`),
  INVALID_SERVICE: () =>
    new OAuthError(
      'invalid_target',
      'audience must be the name of a service: 1 to 64 characters of A-Z a-z 0-9 . _ -',
    ),
  INVALID_SCOPES: ({ facts }) => new OAuthError('invalid_scope', describeScopes(facts)),
  DELEGATION_TOO_DEEP: ({ message }) => new OAuthError('unauthorized_client', message),
  TOO_MANY_TOKENS: ({ message }) => new OAuthError('unauthorized_client', message),
}

function describeScopes({ unknownScopes, missingScopes, undelegableScopes }: ErrorFacts): string {
  if (unknownScopes) return `Unknown scopes: ${unknownScopes.join(' ')}`
  if (missingScopes) return `subject_token does not hold these scopes: ${missingScopes.join(' ')}`
  return `These scopes are never delegated: ${undelegableScopes?.join(' ')}`
}

/** Returns the error of RFC 8693 2.2.2 for a failure of delegation; any other failure as it is. */
export const toExchangeError = (error: unknown): unknown =>
  error instanceof PorthorError ? (ERRORS[error.code]?.(error) ?? error) : error
