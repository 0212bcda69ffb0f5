import type { Logger } from 'pino'
import type { Actor } from '../../domain/actor.ts'
import { PorthorError, UnauthenticatedError } from '../../domain/errors.ts'
import { parseToken, type Token, type TokenKey } from '../../domain/token.ts'
import { equalInConstantTime } from '../../lib/equal.ts'
import { RateLimitedLog } from '../../lib/rate-limited-log.ts'
import type { Secret } from '../../lib/secret.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import type { UsageRecorder } from '../maintenance/usage-recorder.ts'

export interface AuthenticatorDeps {
  readonly tokens: TokenStore
  readonly usage: UsageRecorder
  /** `undefined` where none is configured. */
  readonly bootstrapToken: Secret<Token> | undefined
  readonly log: Logger
}

/** Whoever knows a token's key can cause one. */
const WARNINGS_PER_MINUTE = 60

/** Tells who holds a bearer string. The token store alone decides whether it is valid. */
export class Authenticator {
  readonly #deps: AuthenticatorDeps
  readonly #wrongSecrets: RateLimitedLog

  constructor(deps: AuthenticatorDeps) {
    this.#deps = deps
    this.#wrongSecrets = new RateLimitedLog(deps.log, WARNINGS_PER_MINUTE)
  }

  /**
   * @param bearer The text after `Bearer `; `undefined` when the request has none.
   * @throws {UnauthenticatedError} missing, malformed, unknown, expired or revoked.
   * @throws {PorthorError} `PERMISSION_DENIED` for an OpenID Connect token, which only Gafaelfawr takes.
   * @throws {UnavailableError} The store did not answer, so that nothing is known of the token.
   */
  async authenticate(bearer: string | undefined): Promise<Actor> {
    if (bearer === undefined) throw new UnauthenticatedError('missing')
    const token = parseToken(bearer)
    if (this.#isBootstrap(token)) return { kind: 'bootstrap' }
    const data = await this.#deps.tokens.find(token.key)
    if (!data) throw new UnauthenticatedError('unknown')
    if (!equalInConstantTime(data.token.secret, token.secret)) {
      this.#wrongSecrets.warn({ tokenKey: token.key }, 'a token was presented with a wrong secret')
      throw new UnauthenticatedError('wrong secret')
    }
    if (data.type === 'oidc') {
      throw new PorthorError(
        'PERMISSION_DENIED',
        "A token of type OIDC cannot act here: use another of the user's tokens.",
      )
    }
    this.#deps.usage.note(data.token.key)
    return { kind: 'token', data }
  }

  /**
   * The key that the token store has to be asked for to authenticate this text after `Bearer `; `undefined` where it
   * is malformed, or known here.
   */
  findKeyToLookUp(bearer: string): TokenKey | undefined {
    try {
      const token = parseToken(bearer)
      const isKnown = this.#isBootstrap(token) || this.#deps.tokens.findCopy?.(token.key) !== undefined
      return isKnown ? undefined : token.key
    } catch {
      return undefined
    }
  }

  /** The key is semi-public, as any token's: only the secret is compared in constant time. */
  #isBootstrap({ key, secret }: Token): boolean {
    const bootstrapToken = this.#deps.bootstrapToken?.reveal()
    return bootstrapToken?.key === key && equalInConstantTime(secret, bootstrapToken.secret)
  }
}
