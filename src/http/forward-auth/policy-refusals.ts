import { InsufficientScopeError } from '../../domain/auth-policy.ts'
import { type ErrorCode, PorthorError, UnauthenticatedError } from '../../domain/errors.ts'
import { formatScopes } from '../../domain/scope.ts'
import type { Refusal } from './auth-response.ts'
import type { AuthOutcome } from './metrics.ts'

/** A refusal, and how it is counted. */
export interface CountedRefusal {
  readonly outcome: AuthOutcome
  readonly refusal: Refusal
}

/** The request has several tokens that differ. */
export const AMBIGUOUS: CountedRefusal = {
  outcome: 'BAD_REQUEST',
  refusal: {
    status: 403,
    error: 'invalid_request',
    message: 'The request has several tokens or Authorization fields that differ: send one',
  },
}

const MISSING: Refusal = { status: 401, message: 'A token is required: log in' }

const REFUSALS: ReadonlyMap<ErrorCode, Refusal & { readonly status: 401 | 403 | 503 }> = new Map([
  [
    'UNAUTHENTICATED',
    {
      status: 401,
      error: 'invalid_token',
      message: 'The token is malformed, unknown, expired or revoked: log in again',
    },
  ],
  [
    'INSUFFICIENT_LIFETIME',
    { status: 401, error: 'invalid_token', message: 'The token expires too soon: log in again' },
  ],
  [
    'PERMISSION_DENIED',
    { status: 403, error: 'insufficient_scope', message: 'The token may not be used for this service' },
  ],
  [
    'DELEGATION_TOO_DEEP',
    {
      status: 403,
      error: 'insufficient_scope',
      message: 'The token is at the end of a chain of delegations, and nothing can be delegated from it',
    },
  ],
  [
    'TOO_MANY_TOKENS',
    { status: 403, error: 'insufficient_scope', message: 'Too many tokens are delegated from the token' },
  ],
  // An edit is taking scopes from the token while something is delegated from it: what the service gets is not known yet.
  ['INVALID_SCOPES', { status: 503, message: 'The scopes of the token are being changed: please try again' }],
  ['UNAVAILABLE', { status: 503, message: 'A storage service did not respond in time: please try again' }],
])

/** Returns the refusal for an expected error; `undefined` for any other, which is a bug. */
export function findRefusal(error: unknown): CountedRefusal | undefined {
  if (!(error instanceof PorthorError)) return undefined
  const refusal = REFUSALS.get(error.code)
  if (!refusal) return undefined
  const outcome = error.code === 'INVALID_SCOPES' ? 'UNAVAILABLE' : (error.code as AuthOutcome)
  if (error instanceof InsufficientScopeError) {
    const scope = formatScopes(error.requiredScopes).replaceAll(',', ' ')
    const message = 'The token does not hold the required scopes'
    return { outcome, refusal: { ...refusal, message, scope } }
  }
  if (error instanceof UnauthenticatedError && error.reason === 'missing')
    return { outcome, refusal: MISSING }
  return { outcome, refusal }
}
