import { type Actor, actorName } from '../../domain/actor.ts'
import { PorthorError, UnauthenticatedError } from '../../domain/errors.ts'
import type { RateLimitedAuthenticator } from '../../services/authentication/rate-limited-authenticator.ts'
import type { RefusalLog } from '../refusal-log.ts'
import { type ClientCredentials, wrongCredentials } from './client-credentials.ts'

/** RFC 6749 A.12: a token has visible ASCII characters only. */
const VISIBLE = /^[\x21-\x7e]+$/

/** Returns a token of a form, which can contain any characters: the empty string, which is malformed, for other ones. */
export const toBearer = (parameter: string): string => (VISIBLE.test(parameter) ? parameter : '')

/** Authenticates the tokens that requests to these endpoints hold. Failures are limited by address, and logged. */
export class TokenAuthentication {
  readonly #authenticator: RateLimitedAuthenticator
  readonly #refusals: RefusalLog

  constructor(authenticator: RateLimitedAuthenticator, refusals: RefusalLog) {
    this.#authenticator = authenticator
    this.#refusals = refusals
  }

  /** Whether `ipAddress` is over the limit, so that its requests are authenticated before their bodies are read. */
  isOverLimit(ipAddress: string | null): boolean {
    return this.#authenticator.isOverLimit(ipAddress)
  }

  /** Returns the actor of a bearer string. @throws As `RateLimitedAuthenticator.authenticate` does. */
  async authenticate(
    bearer: string,
    ipAddress: string | null,
    purpose: 'act' | 'revoke' = 'act',
  ): Promise<Actor> {
    try {
      return await this.#authenticator.authenticate(toBearer(bearer), ipAddress, purpose)
    } catch (error) {
      this.#authenticator.countFailure(error, ipAddress)
      this.#refusals.token(error, bearer, ipAddress)
      throw error
    }
  }

  /**
   * As `authenticate`, for a token that an authenticated client names. Failures are not counted for its address: the users of
   * the client cause them.
   */
  async authenticateNamed<T>(
    authenticate: (bearer: string) => Promise<T>,
    bearer: string,
    ipAddress: string | null,
  ): Promise<T> {
    try {
      return await authenticate(toBearer(bearer))
    } catch (error) {
      this.#refusals.token(error, bearer, ipAddress)
      throw error
    }
  }

  /** Returns the actor of a client's credentials. @throws {OAuthError} `invalid_client` */
  async authenticateClient(credentials: ClientCredentials, ipAddress: string | null): Promise<Actor> {
    const { scheme, bearer } = credentials
    let actor: Actor
    try {
      actor = await this.authenticate(bearer, ipAddress)
    } catch (error) {
      if (isRefused(error)) throw wrongCredentials(scheme)
      throw error
    }
    const isOther = credentials.scheme === 'Basic' && credentials.username !== actorName(actor)
    if (isOther) throw wrongCredentials(scheme)
    return actor
  }
}

/** Whether `error` means that a token is not valid, or may not act: it is known, and no use to try again. */
export const isRefused = (error: unknown): boolean =>
  error instanceof UnauthenticatedError ||
  (error instanceof PorthorError && error.code === 'PERMISSION_DENIED')
