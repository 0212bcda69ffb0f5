import { PorthorError, UnauthenticatedError } from '../../../domain/errors.ts'
import type { CredentialSource } from './credential.ts'
import type { Refusal } from './refusal.ts'

/**
 * Returns the refusal for an expected error of the stores and services; `undefined` for any other, which is a bug.
 *
 * @param source Where the bearer string came from.
 */
export function findErrorRefusal(error: unknown, source: CredentialSource): Refusal | undefined {
  if (error instanceof UnauthenticatedError) return refuseToken(error, source)
  if (!(error instanceof PorthorError)) return undefined
  switch (error.code) {
    case 'INSUFFICIENT_LIFETIME':
      return { kind: 'lifetime' }
    case 'PERMISSION_DENIED':
      return forbidden('permission_denied', 'Nothing may be delegated from this token')
    case 'DELEGATION_TOO_DEEP':
      return forbidden('delegation_too_deep', 'The token is at the end of a chain of delegations')
    case 'TOO_MANY_TOKENS':
      return forbidden('too_many_tokens', 'Too many tokens are delegated from the token')
    // Scopes were taken from the token while it was delegated, again and again.
    case 'INVALID_SCOPES':
    case 'UNAVAILABLE':
      return { kind: 'unavailable' }
    default:
      return undefined
  }
}

/** A browser keeps the cookie of a session that has expired or is revoked: its user only has to log in. */
const refuseToken = ({ reason }: UnauthenticatedError, source: CredentialSource): Refusal =>
  source === 'cookie' && reason !== 'desynchronised'
    ? { kind: 'unauthenticated' }
    : {
        kind: 'bearer',
        error: {
          code: 'invalid_token',
          description: reason === 'malformed' ? 'Token is malformed' : 'Token is not valid',
        },
      }

const forbidden = (type: string, msg: string): Refusal => ({ kind: 'forbidden', detail: { msg, type } })
