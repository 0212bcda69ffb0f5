import type { Logger } from 'pino'
import type { Actor } from '../../domain/actor.ts'
import { PorthorError, UnauthenticatedError } from '../../domain/errors.ts'
import { findToken, parseToken, type Token, type TokenData, type TokenKey } from '../../domain/token.ts'
import { equalInConstantTime } from '../../lib/equal.ts'
import { RateLimitedLog } from '../../lib/rate-limited-log.ts'
import type { Secret } from '../../lib/secret.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import type { UsageRecorder } from '../maintenance/usage-recorder.ts'

export interface AuthenticatorDeps {
  readonly tokens: TokenStore
  readonly usage: UsageRecorder
  /** `undefined` if none is configured. */
  readonly bootstrapToken: Secret<Token> | undefined
  readonly log: Logger
}

/** Maximum number of warnings per minute: every client that knows a token key can cause them. */
const MAX_WARNINGS_PER_MINUTE = 60

/** What a bearer string is presented for: a token that does not act here can still be revoked. */
export type Purpose = 'act' | 'revoke'

/** Finds the actor of a bearer string. Only the token store decides whether a token is valid. */
export class Authenticator {
  readonly #deps: AuthenticatorDeps
  readonly #wrongSecrets: RateLimitedLog

  constructor(deps: AuthenticatorDeps) {
    this.#deps = deps
    this.#wrongSecrets = new RateLimitedLog(deps.log, MAX_WARNINGS_PER_MINUTE)
  }

  /**
   * Returns the actor of a bearer string.
   *
   * @param bearer The text after `Bearer `; `undefined` if the request has none.
   * @throws {UnauthenticatedError} The token is missing, malformed, unknown, expired or revoked.
   * @throws {PorthorError} `PERMISSION_DENIED` for an OpenID Connect token that is to act, which only Gafaelfawr accepts.
   * @throws {UnavailableError} The token store did not respond: it is not known whether the token is valid.
   */
  async authenticate(bearer: string | undefined, purpose: Purpose = 'act'): Promise<Actor> {
    if (bearer === undefined) throw new UnauthenticatedError('missing')
    const token = parseToken(bearer)
    if (this.#isBootstrap(token)) return { kind: 'bootstrap' }
    const data = await this.#deps.tokens.find(token.key)
    if (!data) throw new UnauthenticatedError('unknown')
    if (!equalInConstantTime(data.token.secret, token.secret)) {
      this.#wrongSecrets.warn({ tokenKey: token.key }, 'a token was presented with a wrong secret')
      throw new UnauthenticatedError('wrong secret')
    }
    if (data.type === 'oidc' && purpose === 'act') {
      throw new PorthorError(
        'PERMISSION_DENIED',
        'A token of type OIDC is not accepted: use a token of another type.',
      )
    }
    this.#deps.usage.note(data.token.key)
    return { kind: 'token', data }
  }

  /**
   * Returns the data of a valid token that acts, if this process has a cache entry for it. `undefined` says nothing: the
   * token has to be authenticated.
   */
  findCached(bearer: string): TokenData | undefined {
    const token = findToken(bearer)
    const data = token && this.#deps.tokens.findCopy?.(token.key)
    if (!data || data.type === 'oidc' || !equalInConstantTime(data.token.secret, token.secret))
      return undefined
    this.#deps.usage.note(data.token.key)
    return data
  }

  /**
   * Returns the token key that must be looked up in the token store to authenticate a bearer string.
   *
   * @returns `undefined` if the string is malformed, or this process has a cache entry for it.
   */
  findKeyToLookUp(bearer: string): TokenKey | undefined {
    const token = findToken(bearer)
    if (!token || this.#isBootstrap(token)) return undefined
    return this.#deps.tokens.findCopy?.(token.key) === undefined ? token.key : undefined
  }

  /** Only the secret is compared in constant time: a token key is public. */
  #isBootstrap({ key, secret }: Token): boolean {
    const bootstrapToken = this.#deps.bootstrapToken?.reveal()
    return bootstrapToken?.key === key && equalInConstantTime(secret, bootstrapToken.secret)
  }
}
