import { isBearerString } from '../../../domain/token.ts'
import type { CredentialRules } from './ingress-query.ts'

/** Credentials of a request, before any store is read. */
export type Credential =
  | { readonly kind: 'none' }
  /** An `Authorization` field that cannot be understood. */
  | { readonly kind: 'malformed'; readonly description: string }
  /** A bearer string, which may be malformed where it comes from the `Authorization` field. */
  | { readonly kind: 'token'; readonly bearer: string; readonly source: CredentialSource }

export type CredentialSource = 'cookie' | 'authorization'

const NONE: Credential = { kind: 'none' }

/**
 * Returns the credentials of a request: the cookie where it may be used and has a token, else the first `Authorization`
 * field. A service may use that field for its own purposes.
 *
 * @param findCookieToken Returns the token in the cookie.
 */
export function findCredential(
  authorizations: readonly string[],
  findCookieToken: () => string | undefined,
  { allowCookies }: CredentialRules,
): Credential {
  const bearer = allowCookies ? findCookieToken() : undefined
  if (bearer !== undefined) return { kind: 'token', bearer, source: 'cookie' }
  const [first] = authorizations
  return first ? parseAuthorization(first) : NONE
}

/** Whether an `Authorization` field is understood as a bearer string of ours. */
export function presentsToken(header: string): boolean {
  const credential = parseAuthorization(header)
  return credential.kind === 'token' && isBearerString(credential.bearer)
}

/** A scheme and its value, which may have spaces in it. A tab alone does not separate them (RFC 9110, section 11.4). */
const SCHEME_AND_VALUE = /^(\S+)(?=\s* )\s+(\S.*)$/

/** Parses as Gafaelfawr does, which is stricter than `http/authorization.ts`. @param header Has no spaces around it. */
export function parseAuthorization(header: string): Credential {
  const [, scheme, value] = SCHEME_AND_VALUE.exec(header) ?? []
  if (scheme === undefined || value === undefined) return malformed('Malformed Authorization header')
  switch (scheme.toLowerCase()) {
    case 'bearer':
      return { kind: 'token', bearer: value, source: 'authorization' }
    case 'basic':
      return parseBasic(value)
    default:
      return malformed('Unknown Authorization type')
  }
}

function parseBasic(value: string): Credential {
  const [username, password, ...others] = decodeUtf8(value)?.trim().split(':') ?? []
  if (username === undefined || password === undefined || others.length > 0) {
    return malformed('Invalid Basic auth string')
  }
  const tokens = [username, password].filter(isBearerString)
  const [bearer, other] = tokens
  if (bearer === undefined) return NONE
  return other === undefined || other === bearer
    ? { kind: 'token', bearer, source: 'authorization' }
    : malformed('Conflicting tokens in Basic username and password fields')
}

function decodeUtf8(base64: string): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(base64, 'base64'))
  } catch {
    return undefined
  }
}

const malformed = (description: string): Credential => ({ kind: 'malformed', description })
