import { carriesToken } from './carried-token.ts'
import { unquote, withoutCookies } from './cookies.ts'

/**
 * Header fields of the user's request that a gateway sends to the protected service in place of those that it received.
 * A field or cookie that has a token of ours in it is left out: the service must not act as the user.
 */

/** Returns the `Authorization` fields without those that carry a token of ours, in their order. */
export const reflectAuthorizations = (authorizations: readonly string[]): string[] =>
  authorizations.filter((value) => value !== '' && !carriesToken(value))

/**
 * Returns the cookies as one `Cookie` field; `undefined` if none is left.
 *
 * @param sessionCookies Names of the cookies in which users present their tokens, also encrypted ones.
 */
export function reflectCookies(
  headers: readonly string[],
  sessionCookies: ReadonlySet<string>,
): string | undefined {
  const cookies = withoutCookies(
    headers,
    (name, value) => sessionCookies.has(name) || [name, value, unquote(value)].some(carriesToken),
  )
  return cookies === '' ? undefined : cookies
}
