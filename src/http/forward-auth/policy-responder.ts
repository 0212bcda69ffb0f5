import type { IncomingMessage } from 'node:http'
import type { TokenPolicy } from '../../domain/auth-policy.ts'
import { formatToken, type TokenData } from '../../domain/token.ts'
import { authorizationValues } from '../authorization.ts'
import { type AuthResponse, allow } from './auth-response.ts'
import { sessionCookieNames } from './cookie-state.ts'
import type { Pass } from './exchange.ts'
import { identityHeaders, NO_IDENTITY } from './identity-headers.ts'
import type { SessionCookie } from './policy-credential.ts'
import { reflectAuthorizations, reflectCookies } from './reflected-headers.ts'

const NOT_IDENTIFIED = Object.entries(NO_IDENTITY).flat()

/** Makes the responses by which requests pass. Each header is sent, also an empty one: it replaces that of the client. */
export class PolicyResponder {
  /** Names of the cookies that hold users' tokens. */
  readonly #cookies: ReadonlySet<string>
  /** By the token: while it is in the client-side cache, its data are one object. */
  readonly #identities = new WeakMap<TokenData, readonly string[]>()

  constructor(cookie: SessionCookie | undefined) {
    this.#cookies = sessionCookieNames(cookie?.name)
  }

  allow(
    { authorization }: TokenPolicy,
    headers: readonly string[],
    { data, delegated }: Pass,
    request: IncomingMessage,
  ): AuthResponse {
    const token = delegated ? formatToken(delegated.data.token) : ''
    const all = [...headers, ...this.#identityOf(data), 'X-Auth-Request-Token', token]
    if (authorization === 'replace') all.push('Authorization', `Bearer ${token}`)
    else if (authorization === 'remove') all.push('Authorization', '')
    all.push('Cookie', this.#cookiesOf(request))
    return allow(all)
  }

  /** The client's own `Authorization` fields pass, except for those with a bearer string of ours. */
  allowAnonymous(headers: readonly string[], request: IncomingMessage): AuthResponse {
    const all = [...headers, ...NOT_IDENTIFIED, 'X-Auth-Request-Token', '']
    const [first = '', ...others] = reflectAuthorizations(authorizationValues(request))
    for (const value of [first, ...others]) all.push('Authorization', value)
    all.push('Cookie', this.#cookiesOf(request))
    return allow(all)
  }

  /** The session is the user's: no service gets it. */
  #cookiesOf({ headers: { cookie } }: IncomingMessage): string {
    return cookie === undefined ? '' : (reflectCookies([cookie], this.#cookies) ?? '')
  }

  #identityOf(data: TokenData): readonly string[] {
    const known = this.#identities.get(data)
    if (known) return known
    const headers = Object.entries(identityHeaders(data)).flat()
    this.#identities.set(data, headers)
    return headers
  }
}
