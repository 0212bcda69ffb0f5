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
  type DelegationRights,
  type Delegator,
  parentRole,
  requireGatewayService,
  requireMayDelegate,
  SELF,
} from '../../domain/gateway.ts'
import {
  intersect,
  type KnownScopes,
  onlyKnown,
  requireDelegable,
  requireHeld,
  requireKnown,
  type Scopes,
  toScopes,
  withoutUndelegable,
} from '../../domain/scope.ts'
import {
  listedScopes,
  requireListed,
  requireWithinService,
  withinService,
} from '../../domain/service-scopes.ts'
import type { Token, TokenData } from '../../domain/token.ts'
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
  /** Shortest remaining lifetime that the caller accepts, in seconds. Default: half of the token's whole lifetime. */
  readonly minimumLifetime?: number | undefined
  /** Who delegates from the parent. Default: the holder of the parent. */
  readonly by?: Delegator
}

export interface TokenCacheServiceDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly issuer: TokenIssuer
  readonly orphanDetector: Pick<OrphanDetector, 'watch' | 'onChange'>
  /** Makes every process clear its caches. */
  readonly broadcast: Pick<Broadcast, 'send'>
  readonly clock: Clock
  readonly log: Logger
  readonly knownScopes: KnownScopes
  readonly limits: DelegationLimits
  readonly rights: DelegationRights
  /** Lifetime of a delegated token whose parent does not expire earlier, in seconds. */
  readonly delegatedLifetime: number
  /** Maximum number of tokens in each of the two caches. */
  readonly cacheSize: number
}

/** A request on its way through cache, database and creation. */
interface InFlightRequest extends ChildRequest {
  readonly cacheKey: CacheKey
}

/**
 * Delegates tokens: reuses the live child of a request if the rules permit it, else issues a new child. It looks in the
 * in-memory cache, then in the database.
 *
 * Concurrent equal requests share one execution; different requests never wait for each other.
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
   * Returns a token of the parent's user for one service, with some of the parent's scopes.
   *
   * A gateway is the actor of a creation in history and log; for any other delegator it is the parent's user. What a gateway
   * obtains is shared with everybody who may delegate the same from the parent. The creation holds the gateway's token as it
   * holds the parent, and reads both again: where either has been revoked meanwhile, nothing is issued.
   *
   * @param parent Authenticated by the caller. For a gateway: the subject, from `SubjectAuthenticator`.
   * @param scopes All of them must be permitted; `grantableScopes` leaves out those that are not.
   * @param ipAddress Client address, for the history of a new token.
   * @returns A valid token that expires no later than its parent.
   * @throws {PorthorError} `INVALID_SERVICE`, `INVALID_SCOPES`, `INVALID_MINIMUM_LIFETIME`, `INSUFFICIENT_LIFETIME`.
   * @throws {PorthorError} `PERMISSION_DENIED`, if `options.by` may not delegate this, no token may be issued for the service,
   *   or the parent's username is not valid for a token.
   * @throws {PorthorError} `DELEGATION_TOO_DEEP`, `TOO_MANY_TOKENS`, if a new token is required.
   * @throws {UnauthenticatedError} The parent has been revoked, or is not in the database; or the token of the gateway has
   *   been revoked. With a gateway, its `role` says which of the two.
   * @throws {UnavailableError} A store did not respond; no token was issued.
   */
  getInternalToken(
    parent: TokenData,
    service: string,
    scopes: readonly string[],
    ipAddress: string | null,
    options: DelegationOptions = {},
  ): Promise<DelegatedToken> {
    const request = () => this.#requireInternal(parent, service, toScopes(scopes), options.by)
    return this.#delegate(parent, request, ipAddress, options)
  }

  /** As `getInternalToken`, for the notebook of the parent's user, with all delegable scopes of the parent. */
  getNotebookToken(
    parent: TokenData,
    ipAddress: string | null,
    options: DelegationOptions = {},
  ): Promise<DelegatedToken> {
    return this.#delegate(parent, () => this.#notebook, ipAddress, options)
  }

  /**
   * As `getInternalToken`, where both caches of this process have all that is needed; `undefined` where they do not, and a
   * request to a store is required.
   */
  findInternalToken(
    parent: TokenData,
    service: string,
    scopes: readonly string[],
    options: DelegationOptions = {},
  ): DelegatedToken | undefined {
    const request = () => this.#requireInternal(parent, service, toScopes(scopes), options.by)
    return this.#findInMemory(this.#accept(parent, request, null, options))
  }

  /** As `getNotebookToken`, and otherwise as `findInternalToken`. */
  findNotebookToken(parent: TokenData, options: DelegationOptions = {}): DelegatedToken | undefined {
    return this.#findInMemory(this.#accept(parent, () => this.#notebook, null, options))
  }

  /**
   * Returns those of `requested` that a token for the service may have: known scopes that the parent holds, that may be
   * delegated, and that the service may be given. For interfaces where requested scopes are optional (forward-auth).
   *
   * `getInternalToken` checks them again, and on creation compares them with a parent that it reads again. So an
   * `INVALID_SCOPES` after this means that the parent has just lost a scope.
   */
  grantableScopes(parent: TokenData, service: string, requested: readonly string[]): Scopes {
    const { knownScopes, limits } = this.#deps
    const held = intersect(toScopes(requested), parent.scopes)
    const delegable = withoutUndelegable(onlyKnown(held, knownScopes), limits.undelegableScopes)
    return withinService(delegable, service, limits.services)
  }

  /**
   * Returns the scopes of a token for the service where the request names none: those that `DELEGATION_SERVICES` lists for the
   * service, and that may be delegated from the parent. None without such a list.
   */
  defaultScopes(parent: TokenData, service: string): Scopes {
    return this.grantableScopes(parent, service, listedScopes(service, this.#deps.limits.services))
  }

  /** Clears both caches of this process, and returns the number of tokens that each held. Revokes no token. */
  clear(): { internal: number; notebook: number } {
    const { internal, notebook } = this.#caches
    const dropped = { internal: internal.size, notebook: notebook.size }
    internal.clear()
    notebook.clear()
    return dropped
  }

  /**
   * Clears the caches of every process. Returns the number of tokens that those of this process held.
   *
   * @throws {UnavailableError} The other processes could not be notified. The caches of this process are cleared.
   */
  async clearEverywhere(): Promise<{ internal: number; notebook: number }> {
    const dropped = this.clear()
    await this.#deps.broadcast.send()
    return dropped
  }

  #requireInternal(
    parent: TokenData,
    service: string,
    scopes: Scopes,
    by: Delegator = SELF,
  ): DelegationRequest {
    const { knownScopes, limits } = this.#deps
    requireService(service)
    requireListed(service, limits.services)
    requireKnown(scopes, knownScopes)
    requireHeld(scopes, parent.scopes, parentRole(by))
    requireDelegable(scopes, limits.undelegableScopes)
    requireWithinService(scopes, service, limits.services)
    return { type: 'internal', service, scopes }
  }

  async #delegate(
    parent: TokenData,
    toRequest: () => DelegationRequest,
    ipAddress: string | null,
    options: DelegationOptions,
  ): Promise<DelegatedToken> {
    const { tokens } = this.#deps
    const asked = this.#accept(parent, toRequest, ipAddress, options)
    const cached = this.#caches[asked.request.type].get(asked.cacheKey)
    const data = cached && (tokens.findCopy?.(cached.key) ?? (await tokens.find(cached.key)))
    return this.#reusable(asked, cached, data) ?? (await this.#findOrCreate(asked))
  }

  #findInMemory(asked: InFlightRequest): DelegatedToken | undefined {
    const cached = this.#caches[asked.request.type].get(asked.cacheKey)
    return this.#reusable(asked, cached, cached && this.#deps.tokens.findCopy?.(cached.key))
  }

  /**
   * Returns the request if `options.by` may make it.
   *
   * @param toRequest Returns the request; throws if it is not valid.
   */
  #accept(
    parent: TokenData,
    toRequest: () => DelegationRequest,
    ipAddress: string | null,
    { minimumLifetime, by = SELF }: DelegationOptions,
  ): InFlightRequest {
    requireMayDelegate(by, parent, this.#deps.rights)
    const request = toRequest()
    requireGatewayService(by, request, this.#deps.rights)
    requireMinimumLifetime(minimumLifetime, this.#deps.delegatedLifetime)
    return { parent, by, request, minimumLifetime, ipAddress, cacheKey: cacheKey(parent, request) }
  }

  /** Returns the cached token if it may be reused. @param data What the token store has of it. */
  #reusable(
    { parent, by, request, minimumLifetime }: InFlightRequest,
    cached: Token | undefined,
    data: TokenData | undefined,
  ): DelegatedToken | undefined {
    const now = this.#deps.clock.now()
    requireParentLifetime(parent, minimumLifetime, now, parentRole(by))
    // Neither secret comes from a client: the duration of the comparison reveals nothing.
    const isSame = data !== undefined && data.token.secret === cached?.secret
    return isSame && isReusable(data, parent, request, minimumLifetime, now)
      ? { data, source: 'cache' }
      : undefined
  }

  /** Finds the child in the database or issues it, once for all concurrent equal requests. */
  #findOrCreate(asked: InFlightRequest): Promise<DelegatedToken> {
    requireParentUsername(asked.parent)
    // Beside the cache key, the result depends on the minimum lifetime, and on the parent's scopes for a notebook. A gateway
    // shares no execution with others: its token may be revoked meanwhile.
    const flight = JSON.stringify([
      asked.request.type,
      asked.cacheKey,
      asked.minimumLifetime,
      childScopes(asked.parent, asked.request),
      asked.by.kind === 'gateway' ? asked.by.data.token.key : null,
    ])
    return this.#flights.run(flight, async () => {
      const found = await withinMs(
        MAX_CREATION_MS,
        async () => (await this.#children.find(asked)) ?? (await this.#children.create(asked)),
      )
      this.#caches[asked.request.type].set(asked.cacheKey, found.data.token)
      return found
    })
  }
}
