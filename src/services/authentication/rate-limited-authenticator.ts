import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import type { Actor } from '../../domain/actor.ts'
import { RateLimitedError, UnauthenticatedError } from '../../domain/errors.ts'
import type { TokenKey } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { ConcurrencyLimit } from '../../lib/concurrency-limit.ts'
import { FailureLimit } from '../../lib/failure-limit.ts'
import type { Authenticator, Purpose } from './authenticator.ts'

export interface RateLimitedAuthenticatorDeps {
  readonly authenticator: Authenticator
  /** Maximum number of failures of one address in a minute; 0 for no limit. */
  readonly failuresPerMinute: number
  readonly clock: Clock
  readonly log: Logger
}

/** Addresses whose failures are counted. */
const MAX_ADDRESSES = 50_000

/** Cached keys of tokens that were valid while their address was over the limit: they are looked up without waiting. */
const MAX_ACCEPTED = 50_000

/** Limits on the look-ups for one address that is over the limit, so that other addresses do not wait for it. */
const LOOKUPS_PER_ADDRESS = { maxRunning: 8, maxWaiting: 1_000 }

/**
 * Authenticates requests, and limits the failures of each address. A valid token is accepted from any address, since all
 * users behind a gateway share one. For an address over the limit, an invalid token gets a cheap response, and only a few
 * tokens that this process does not have are looked up at a time.
 */
export class RateLimitedAuthenticator {
  readonly #deps: RateLimitedAuthenticatorDeps
  readonly #failures: FailureLimit
  readonly #lookups = new ConcurrencyLimit(LOOKUPS_PER_ADDRESS)
  readonly #accepted = new LRUCache<TokenKey, true>({ max: MAX_ACCEPTED })

  constructor(deps: RateLimitedAuthenticatorDeps) {
    this.#deps = deps
    this.#failures = new FailureLimit({
      perMinute: deps.failuresPerMinute,
      maxSources: MAX_ADDRESSES,
      now: () => deps.clock.now().getTime(),
    })
  }

  /** Whether `address` is over the limit, so that its requests are authenticated before their bodies are read. */
  isOverLimit(address: string | null): boolean {
    return address !== null && this.#failures.isOver(address)
  }

  /**
   * Returns the actor of a bearer string from `address`. The caller must pass what this throws to `countFailure`.
   *
   * @throws {RateLimitedError} The address is over the limit, and the token is not valid, or too many look-ups wait.
   * @throws As `Authenticator.authenticate` does.
   */
  authenticate(bearer: string | undefined, address: string | null, purpose: Purpose = 'act'): Promise<Actor> {
    // A request without a token does not count as a failure: it guesses nothing, and costs no look-up.
    return address !== null && bearer !== undefined && this.#failures.isOver(address)
      ? this.#authenticateOverLimit(bearer, address, purpose)
      : this.#deps.authenticator.authenticate(bearer, purpose)
  }

  /** Counts `error` if it means that a token from `address` is not valid. */
  countFailure(error: unknown, address: string | null): void {
    if (!(error instanceof UnauthenticatedError) || error.reason === 'missing' || address === null) return
    if (!this.#failures.note(address)) return
    const { log, failuresPerMinute } = this.#deps
    log.warn({ ipAddress: address, failuresPerMinute }, 'too many failed authentications from one address')
  }

  async #authenticateOverLimit(bearer: string, address: string, purpose: Purpose): Promise<Actor> {
    const { authenticator } = this.#deps
    const lookUp = () => authenticator.authenticate(bearer, purpose)
    const key = authenticator.findKeyToLookUp(bearer)
    const isLookedUpAtOnce = key === undefined || this.#accepted.has(key)
    const result = isLookedUpAtOnce ? lookUp() : this.#lookups.run(address, lookUp)
    if (!result) throw new RateLimitedError(this.#failures.retryAfterSeconds(address))
    try {
      const actor = await result
      if (!isLookedUpAtOnce) this.#accepted.set(key, true)
      return actor
    } catch (error) {
      if (!(error instanceof UnauthenticatedError)) throw error
      if (key !== undefined) this.#accepted.delete(key)
      this.countFailure(error, address)
      throw new RateLimitedError(this.#failures.retryAfterSeconds(address))
    }
  }
}
