import { type ErrorCode, type ErrorFacts, PorthorError, UnauthenticatedError } from '../../domain/errors.ts'
import { wrongCredentials } from './client-credentials.ts'
import type { AuthenticatedClient } from './endpoint.ts'
import { invalidRequest, OAuthError } from './oauth-error.ts'

const NOT_GATEWAY =
  'The client is not a gateway: it must authenticate with a service token that has the scope delegate:token.'

/** Errors of delegation in the words of RFC 8693, by code. */
const ERRORS: Partial<Record<ErrorCode, (error: PorthorError) => OAuthError>> = {
  UNAUTHENTICATED: () =>
    invalidRequest('subject_token is malformed, unknown, expired or revoked: log in again.'),
  PERMISSION_DENIED: ({ message, facts }) =>
    isAboutGateway(facts)
      ? new OAuthError('unauthorized_client', facts.service === undefined ? NOT_GATEWAY : message)
      : invalidRequest(`subject_token cannot be exchanged. ${message}`),
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

/** Whether the client is not a gateway, or not for this service; otherwise nothing is delegated from the subject. */
const isAboutGateway = ({ sufficientScopes, service }: ErrorFacts): boolean =>
  sufficientScopes !== undefined || service !== undefined

function describeScopes(facts: ErrorFacts): string {
  const { unknownScopes, missingScopes, excessScopes, undelegableScopes } = facts
  if (unknownScopes) return `Unknown scopes: ${unknownScopes.join(' ')}`
  if (missingScopes) return `subject_token does not hold these scopes: ${missingScopes.join(' ')}`
  if (excessScopes) return `The service may not be given these scopes: ${excessScopes.join(' ')}`
  return `These scopes are never delegated: ${undelegableScopes?.join(' ')}`
}

/**
 * Returns the error of RFC 8693 2.2.2 for a failure of delegation; any other failure as it is.
 *
 * @param gateway The client that delegates; `undefined` where the subject delegates for itself.
 */
export function toExchangeError(error: unknown, gateway: AuthenticatedClient | undefined): unknown {
  // The token of the gateway has been revoked since it was authenticated.
  if (gateway && error instanceof UnauthenticatedError && error.role === 'current') {
    return wrongCredentials(gateway.scheme)
  }
  return error instanceof PorthorError ? (ERRORS[error.code]?.(error) ?? error) : error
}
