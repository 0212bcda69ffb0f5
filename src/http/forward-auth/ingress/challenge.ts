import type { Scopes } from '../../../domain/scope.ts'
import { holdsBearerString } from '../../../domain/token.ts'

/** Scheme of a challenge, as the parameter `auth_type` names it. */
export type AuthType = 'basic' | 'bearer'

/** An error of RFC 6750, section 3.1. */
export interface BearerError {
  readonly code: 'invalid_request' | 'invalid_token' | 'insufficient_scope'
  readonly description: string
  /** Scopes that the request needs. */
  readonly scopes?: Scopes
}

/** RFC 6749, section 3.3: what a scope may have in it. A field with any other character could not be sent, or is another. */
const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/

/** A bearer string by mistake is in no response. */
const canBeSent = (scope: string): boolean => SCOPE_TOKEN.test(scope) && !holdsBearerString(scope)

/** Formats `WWW-Authenticate`. A `Basic` challenge has no room for an error (RFC 7617). */
export function formatChallenge(authType: AuthType, realm: string, error?: BearerError): string {
  if (authType === 'basic') return `Basic realm="${realm}"`
  const attributes = [`realm="${realm}"`]
  if (error) {
    attributes.push(`error="${error.code}"`, `error_description="${error.description.replace(/["\\]/g, '')}"`)
    const scopes = error.scopes?.filter(canBeSent) ?? []
    if (scopes.length > 0) attributes.push(`scope="${scopes.join(' ')}"`)
  }
  return `Bearer ${attributes.join(', ')}`
}
