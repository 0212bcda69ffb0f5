import { formatToken, serviceOf } from '../../../domain/token.ts'
import type { AuthResponse } from '../auth-response.ts'
import { reflectAuthorizations, reflectCookies } from '../reflected-headers.ts'
import { presentsToken } from './credential.ts'
import type { IngressPass } from './ingress-decider.ts'

/** What a request sent to whom it is to reach. */
export interface SentHeaders {
  /** Values of the `Authorization` fields, in order. */
  readonly authorizations: readonly string[]
  /** Values of the `Cookie` fields. */
  readonly cookies: readonly string[]
}

// Not cached by the proxy either: a token is refused from the moment of its revocation on.
const HEADERS = ['Cache-Control', 'no-store', 'Content-Type', 'application/json'] as const
const BODY = '{"status":"ok"}'

/** @param sessionCookies Names of the cookies in which users present their tokens. */
export function allowPass(
  { rules, data, delegated }: IngressPass,
  { authorizations, cookies }: SentHeaders,
  sessionCookies: ReadonlySet<string>,
): AuthResponse {
  const headers: string[] = [...HEADERS, 'X-Auth-Request-User', encodeNonAscii(data.username)]
  const { email } = data.userInfo
  if (email !== null) headers.push('X-Auth-Request-Email', encodeNonAscii(email))
  const service = serviceOf(data)
  if (service !== null) headers.push('X-Auth-Request-Service', encodeNonAscii(service))
  const token = delegated && formatToken(delegated.data.token)
  if (token !== undefined) headers.push('X-Auth-Request-Token', token)
  if (!rules.useAuthorization) pushAuthorizations(headers, authorizations)
  else if (token !== undefined) headers.push('Authorization', `Bearer ${token}`)
  pushCookies(headers, cookies, sessionCookies)
  return { status: 200, headers, body: BODY }
}

/** Everybody passes; what carries a token of ours does not. */
export function allowAnonymous(
  { authorizations, cookies }: SentHeaders,
  sessionCookies: ReadonlySet<string>,
): AuthResponse {
  const headers: string[] = [...HEADERS]
  pushAuthorizations(headers, authorizations)
  pushCookies(headers, cookies, sessionCookies)
  return { status: 200, headers, body: BODY }
}

function pushAuthorizations(headers: string[], authorizations: readonly string[]): void {
  // What was understood as a token is never reflected, in whatever form.
  const others = authorizations.filter((value) => !presentsToken(value))
  for (const value of reflectAuthorizations(others)) headers.push('Authorization', value)
}

function pushCookies(
  headers: string[],
  cookies: readonly string[],
  sessionCookies: ReadonlySet<string>,
): void {
  const reflected = reflectCookies(cookies, sessionCookies)
  if (reflected !== undefined) headers.push('Cookie', reflected)
}

/** Percent-encodes what is not printable ASCII, as UTF-8: a header field has no other characters. */
const encodeNonAscii = (text: string): string =>
  text.replace(/[^\x20-\x7e]+/gu, (found) =>
    [...Buffer.from(found, 'utf8')]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
      .join(''),
  )
