import { parseToken } from '../../domain/token.ts'
import type { Fernet } from '../../lib/fernet.ts'

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
    if (typeof token !== 'string') return undefined
    parseToken(token)
    return token
  } catch {
    return undefined
  }
}
