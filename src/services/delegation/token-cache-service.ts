import type { Logger } from 'pino'
import {
  type CacheKey,
  cacheKey,
  childScopes,
  type DelegationLimits,
  type DelegationRequest,
  isReusable,
  requireMinimumLifetime,
  requireParentLifetime,
  requireParentUsername,
  requireService,
} from '../../domain/delegation.ts'
import {
  type KnownScopes,
  requireDelegable,
  requireHeld,
  requireKnown,
  type Scopes,
  toScopes,
} from '../../domain/scope.ts'
import type { TokenData } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { SingleFlight } from '../../lib/single-flight.ts'
import type { Broadcast } from '../../stores/broadcast/broadcast.ts'
import type { TokenDatabase } from '../../stores/database/token-database.ts'
import { withinMs } from '../../stores/deadline.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import type { OrphanDetector } from '../maintenance/orphan-detector.ts'
import { MAX_CREATION_MS, type TokenIssuer } from '../tokens/token-issuer.ts'
import { ChildCache } from './child-cache.ts'
import { ChildIssuer, type ChildRequest, type DelegatedToken } from './child-issuer.ts'

export type { DelegatedToken, DelegationSource } from './child-issuer.ts'

export interface DelegationOptions {
  /** Least remaining life that the caller accepts, in seconds; without it, half of the token's whole life. */
  readonly minimumLifetime?: number | undefined
}

export interface TokenCacheServiceDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly issuer: TokenIssuer
  readonly orphanDetector: Pick<OrphanDetector, 'note' | 'onChange'>
  /** Tells every process to clear its caches. */
  readonly broadcast: Pick<Broadcast, 'send'>
  readonly clock: Clock
  readonly log: Logger
  readonly knownScopes: KnownScopes
  readonly limits: DelegationLimits
  /** How long a delegated token lives when its parent does not end sooner, in seconds. */
  readonly delegatedLifetime: number
  /** How many tokens each of the two caches keeps. */
  readonly cacheSize: number
}

/** One request as the steps below pass it on. */
interface InFlightRequest extends ChildRequest {
  readonly cacheKey: CacheKey
}

/**
 * Delegates tokens: hands out the live child where it may and makes a new one where it must. Looks in
 * this process's memory, then in the database, then creates.
 *
 * Concurrent equal requests wait for one answer; requests that differ never wait for each other.
 */
export class TokenCacheService {
  readonly #deps: TokenCacheServiceDeps
  readonly #caches: Readonly<Record<DelegationRequest['type'], ChildCache>>
  readonly #notebook: DelegationRequest
  readonly #children: ChildIssuer
  readonly #flights = new SingleFlight<DelegatedToken>()

  constructor(deps: TokenCacheServiceDeps) {
    this.#deps = deps
    this.#children = new ChildIssuer(deps)
    this.#notebook = { type: 'notebook', undelegable: deps.limits.undelegableScopes }
    this.#caches = {
      internal: new ChildCache(deps.cacheSize),
      notebook: new ChildCache(deps.cacheSize),
    }
  }

  /**
   * A token of the parent's user for one service, with some of the parent's scopes.
   *
   * @param ipAddress Client address, for the history of a token that has to be made.
   * @returns A token valid now, ending no later than its parent.
   * @throws {PorthorError} `INVALID_SERVICE`, `INVALID_SCOPES`, `INVALID_MINIMUM_LIFETIME`, `INSUFFICIENT_LIFETIME`.
   * @throws {PorthorError} `PERMISSION_DENIED`, when the parent's username is not one that tokens are made for.
   * @throws {PorthorError} `DELEGATION_TOO_DEEP`, `TOO_MANY_TOKENS`, when a token would have to be issued.
   * @throws {UnauthenticatedError} The parent has been revoked, or is not in the database.
   * @throws {UnavailableError} A store did not answer; nothing was made.
   */
  getInternalToken(
    parent: TokenData,
    service: string,
    scopes: readonly string[],
    ipAddress: string | null,
    options: DelegationOptions = {},
  ): Promise<DelegatedToken> {
    const request = () => this.#requireInternal(parent, service, toScopes(scopes))
    return this.#delegate(parent, request, ipAddress, options)
  }

  /** A token for the notebook of the parent's user, with all scopes that the parent can delegate. Otherwise as `getInternalToken`. */
  getNotebookToken(
    parent: TokenData,
    ipAddress: string | null,
    options: DelegationOptions = {},
  ): Promise<DelegatedToken> {
    return this.#delegate(parent, () => this.#notebook, ipAddress, options)
  }

  /** Empties both caches of this process, and says how many tokens each held. No token is revoked. */
  clear(): { internal: number; notebook: number } {
    const { internal, notebook } = this.#caches
    const dropped = { internal: internal.size, notebook: notebook.size }
    internal.clear()
    notebook.clear()
    return dropped
  }

  /**
   * Empties the caches of every process. Says what this one held.
   *
   * @throws {UnavailableError} The others could not be told; this process's caches are empty all the same.
   */
  async clearEverywhere(): Promise<{ internal: number; notebook: number }> {
    const dropped = this.clear()
    await this.#deps.broadcast.send()
    return dropped
  }

  #requireInternal(parent: TokenData, service: string, scopes: Scopes): DelegationRequest {
    requireService(service)
    requireKnown(scopes, this.#deps.knownScopes)
    requireHeld(scopes, parent.scopes)
    requireDelegable(scopes, this.#deps.limits.undelegableScopes)
    return { type: 'internal', service, scopes }
  }

  /** @param toRequest What is asked for; throws where that is not valid. */
  async #delegate(
    parent: TokenData,
    toRequest: () => DelegationRequest,
    ipAddress: string | null,
    { minimumLifetime }: DelegationOptions,
  ): Promise<DelegatedToken> {
    const { tokens } = this.#deps
    const request = toRequest()
    requireMinimumLifetime(minimumLifetime, this.#deps.delegatedLifetime)
    const wish: InFlightRequest = {
      parent,
      request,
      minimumLifetime,
      ipAddress,
      cacheKey: cacheKey(parent, request),
    }
    const cached = this.#caches[request.type].get(wish.cacheKey)
    const data = cached && (tokens.findCopy?.(cached.key) ?? (await tokens.find(cached.key)))
    const now = this.#deps.clock.now()
    requireParentLifetime(parent, minimumLifetime, now)
    // Neither secret is a stranger's guess: there is nothing to learn from how long they take to compare.
    const isSame = data !== undefined && data.token.secret === cached?.secret
    return isSame && isReusable(data, parent, request, minimumLifetime, now)
      ? { data, source: 'cache' }
      : await this.#shared(wish)
  }

  /** One trip to the database per wish, however many callers make it at once. */
  #shared(wish: InFlightRequest): Promise<DelegatedToken> {
    requireParentUsername(wish.parent)
    // What changes the answer beside the cache key: the minimum, and the scopes that a notebook mirrors.
    const flight = JSON.stringify([
      wish.request.type,
      wish.cacheKey,
      wish.minimumLifetime,
      childScopes(wish.parent, wish.request),
    ])
    return this.#flights.run(flight, async () => {
      const found = await withinMs(
        MAX_CREATION_MS,
        async () => (await this.#children.find(wish)) ?? (await this.#children.create(wish)),
      )
      this.#caches[wish.request.type].set(wish.cacheKey, found.data.token)
      return found
    })
  }
}
