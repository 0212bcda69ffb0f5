import { isBearerString } from '../../domain/token.ts'
import type { Fernet } from '../../lib/fernet.ts'

/** Name of the cookie in which Gafaelfawr keeps the state of a user. */
export const STATE_COOKIE = 'gafaelfawr'

/**
 * Returns the names of the cookies in which users present their tokens: that of Gafaelfawr too, which may be on the same host,
 * and whose state a service could replay.
 *
 * @param sessionCookie Name that the operator has configured.
 */
export const sessionCookieNames = (sessionCookie: string | undefined): ReadonlySet<string> =>
  new Set(sessionCookie === undefined ? [STATE_COOKIE] : [STATE_COOKIE, sessionCookie])

/**
 * Returns the bearer string in the state that Gafaelfawr keeps in a user's cookie: JSON, encrypted with the session
 * secret, whose member `token` is the session token.
 *
 * @returns `undefined` where the user has not logged in, and for what is not such a state: it counts as no cookie.
 */
export function findTokenInState(cookie: string, fernet: Fernet): string | undefined {
  try {
    const state: unknown = JSON.parse(fernet.decrypt(cookie))
    if (typeof state !== 'object' || state === null || !('token' in state)) return undefined
    const { token } = state
    return typeof token === 'string' && isBearerString(token) ? token : undefined
  } catch {
    return undefined
  }
}
