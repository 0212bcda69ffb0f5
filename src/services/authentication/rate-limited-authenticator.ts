import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import type { Actor } from '../../domain/actor.ts'
import { RateLimitedError, UnauthenticatedError } from '../../domain/errors.ts'
import type { TokenKey } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { ConcurrencyLimit } from '../../lib/concurrency-limit.ts'
import { FailureLimit } from '../../lib/failure-limit.ts'
import type { Authenticator } from './authenticator.ts'

export interface RateLimitedAuthenticatorDeps {
  readonly authenticator: Authenticator
  /** How often one address may fail in a minute; 0 for as often as it likes. */
  readonly failuresPerMinute: number
  readonly clock: Clock
  readonly log: Logger
}

/** Addresses whose failures are remembered. */
const MAX_SOURCES = 50_000

/** Keys of tokens that were valid though others from their address were not, and that are looked up at once therefore. */
const MAX_ACCEPTED = 50_000

/** Look-ups for one address that is over its limit, so that those for others are not held up. */
const LOOKUPS_PER_ADDRESS = { maxRunning: 8, maxWaiting: 1_000 }

/**
 * Authenticates, and limits how often an address may fail. A valid token is accepted from any address, since behind
 * a gateway all users share one; but one that is over its limit gets a cheap refusal for whatever is not valid, and
 * has tokens that this process does not know looked up a few at a time.
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
      maxSources: MAX_SOURCES,
      now: () => deps.clock.now().getTime(),
    })
  }

  /** Whether so many authentications from `address` have failed that it is worth authenticating before all else. */
  isOverLimit(address: string | null): boolean {
    return address !== null && this.#failures.isOver(address)
  }

  /**
   * Finds out who holds a bearer string that came from `address`. What it throws is to be given to `countFailure`.
   *
   * @throws {RateLimitedError} It is not valid, or too many wait to be looked up, and the address is over its limit.
   * @throws As `Authenticator.authenticate` does.
   */
  authenticate(bearer: string | undefined, address: string | null): Promise<Actor> {
    // Who sends no token does not fail: there is nothing to look up, and nothing to guess.
    return address !== null && bearer !== undefined && this.#failures.isOver(address)
      ? this.#authenticateSuspect(bearer, address)
      : this.#deps.authenticator.authenticate(bearer)
  }

  /** Counts `error` if it says that a token from `address` is not valid. */
  countFailure(error: unknown, address: string | null): void {
    if (!(error instanceof UnauthenticatedError) || error.reason === 'missing' || address === null) return
    if (!this.#failures.note(address)) return
    const { log, failuresPerMinute } = this.#deps
    log.warn({ ipAddress: address, failuresPerMinute }, 'too many failed authentications from one address')
  }

  async #authenticateSuspect(bearer: string, address: string): Promise<Actor> {
    const { authenticator } = this.#deps
    const lookUp = () => authenticator.authenticate(bearer)
    const key = authenticator.findKeyToLookUp(bearer)
    const isTrusted = key === undefined || this.#accepted.has(key)
    const result = isTrusted ? lookUp() : this.#lookups.run(address, lookUp)
    if (!result) throw new RateLimitedError(this.#failures.retryAfterSeconds(address))
    try {
      const actor = await result
      if (!isTrusted) this.#accepted.set(key, true)
      return actor
    } catch (error) {
      if (!(error instanceof UnauthenticatedError)) throw error
      if (key !== undefined) this.#accepted.delete(key)
      this.countFailure(error, address)
      throw new RateLimitedError(this.#failures.retryAfterSeconds(address))
    }
  }
}
