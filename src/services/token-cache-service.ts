import type { Logger } from 'pino'
import {
  agrees,
  type CacheKey,
  type ChildRecord,
  cacheKey,
  childExpiry,
  childScopes,
  type DelegationLimits,
  type DelegationRequest,
  isReusable,
  minimumExpiry,
  outlives,
  requireMinimumLifetime,
  requireParentLifetime,
  requireParentUsername,
  requireService,
  shapeOf,
} from '../domain/delegation.ts'
import { UnauthenticatedError } from '../domain/errors.ts'
import { floorToSecond } from '../domain/lifetime.ts'
import {
  type KnownScopes,
  requireDelegable,
  requireHeld,
  requireKnown,
  type Scopes,
  toScopes,
} from '../domain/scope.ts'
import { type DelegatedTokenData, generateToken, type TokenData } from '../domain/token.ts'
import type { Clock } from '../lib/clock.ts'
import { SingleFlight } from '../lib/single-flight.ts'
import type { Broadcast } from '../stores/broadcast.ts'
import type { ChildQuery, TokenDatabase, TokenTransaction } from '../stores/token-database.ts'
import type { TokenStore } from '../stores/token-store.ts'
import { ChildCache } from './child-cache.ts'
import { grantedByBoth, readHeld } from './current-token.ts'
import type { TokenIssuer } from './token-issuer.ts'

/** Where an answer came from. */
export type DelegationSource = 'cache' | 'database' | 'new'

export interface DelegatedToken {
  readonly data: DelegatedTokenData
  readonly source: DelegationSource
}

export interface DelegationOptions {
  /** Least remaining life that the caller accepts, in seconds; without it, half of the token's whole life. */
  readonly minimumLifetime?: number | undefined
}

export interface TokenCacheServiceDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly issuer: TokenIssuer
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
interface Wish {
  readonly parent: TokenData
  readonly request: DelegationRequest
  readonly minimumLifetime: number | undefined
  readonly ipAddress: string | null
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
  readonly #flights = new SingleFlight<DelegatedToken>()

  constructor(deps: TokenCacheServiceDeps) {
    this.#deps = deps
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
    const wish: Wish = { parent, request, minimumLifetime, ipAddress, cacheKey: cacheKey(parent, request) }
    const cached = this.#caches[request.type].get(wish.cacheKey)
    const data = cached && (tokens.copyOf?.(cached.key) ?? (await tokens.get(cached.key)))
    const now = this.#deps.clock.now()
    requireParentLifetime(parent, minimumLifetime, now)
    // Neither secret is a stranger's guess: there is nothing to learn from how long they take to compare.
    const isSame = data !== undefined && data.token.secret === cached?.secret
    return isSame && isReusable(data, parent, request, minimumLifetime, now)
      ? { data, source: 'cache' }
      : await this.#shared(wish)
  }

  /** One trip to the database per wish, however many callers make it at once. */
  #shared(wish: Wish): Promise<DelegatedToken> {
    requireParentUsername(wish.parent)
    // What changes the answer beside the cache key: the minimum, and the scopes that a notebook mirrors.
    const flight = JSON.stringify([
      wish.request.type,
      wish.cacheKey,
      wish.minimumLifetime,
      childScopes(wish.parent, wish.request),
    ])
    return this.#flights.run(flight, async () => {
      const found = (await this.#fromDatabase(wish)) ?? (await this.#create(wish))
      this.#caches[wish.request.type].set(wish.cacheKey, found.data.token)
      return found
    })
  }

  async #fromDatabase(wish: Wish): Promise<DelegatedToken | undefined> {
    return this.#firstLive(await this.#deps.database.findChildren(this.#matchesOf(wish)), wish.parent)
  }

  /** The first of the children that ends with its parent or before, and that the token store has with the same facts. */
  async #firstLive(children: readonly ChildRecord[], parent: TokenData): Promise<DelegatedToken | undefined> {
    for (const child of children) {
      if (outlives(child, parent)) continue
      const data = await this.#deps.tokens.get(child.key)
      if (data && agrees(data, child)) return { data, source: 'database' }
    }
    return undefined
  }

  #create(wish: Wish): Promise<DelegatedToken> {
    return this.#deps.issuer.transaction(wish.parent.token.key, async (tx, issue) => {
      const current: Wish = { ...wish, parent: await this.#lockParent(tx, wish) }
      requireParentLifetime(current.parent, wish.minimumLifetime, this.#now())
      const matches = this.#matchesOf(current)
      const data = this.#newChild(current)
      const child = { data, tokenName: null, parentKey: matches.shape.parentKey }
      const origin = { actor: data.username, ipAddress: wish.ipAddress }
      // Another process may have made it while this one waited for the lock.
      if (await issue(child, origin, matches)) return { data, source: 'new' }
      const live = await this.#firstLive(await tx.findChildren(matches), current.parent)
      if (live) return live
      await issue(child, origin)
      return { data, source: 'new' }
    })
  }

  /**
   * Holds the parent, and returns it as it is now: while this transaction waited, it may have been
   * revoked, or have lost some of its life or scopes. It has what both stores say: an edit may have
   * reached one of them alone.
   */
  async #lockParent(tx: TokenTransaction, { parent, request }: Wish): Promise<TokenData> {
    const locked = await tx.lockForDelegation(shapeOf(parent, request))
    const { data, row } = await readHeld(this.#deps, tx, locked, parent)
    if (!data) throw new UnauthenticatedError('unknown')
    if (!row) {
      this.#deps.log.error(
        { tokenKey: parent.token.key, username: parent.username },
        'stores are desynchronised: a parent is in the token store but not in the database',
      )
      throw new UnauthenticatedError('desynchronised')
    }
    const current = grantedByBoth(data, row)
    if (request.type === 'internal') requireHeld(request.scopes, current.scopes)
    return current
  }

  #newChild({ parent, request }: Wish): DelegatedTokenData {
    const now = this.#now()
    const common = {
      token: generateToken(),
      username: parent.username,
      userInfo: parent.userInfo,
      scopes: childScopes(parent, request),
      createdAt: now,
      expiresAt: childExpiry(parent, this.#deps.delegatedLifetime, now),
    }
    return request.type === 'internal'
      ? { ...common, type: 'internal', service: request.service }
      : { ...common, type: 'notebook' }
  }

  /** What the database may have that would do. */
  #matchesOf({ parent, request, minimumLifetime }: Wish): ChildQuery {
    const { delegatedLifetime } = this.#deps
    return {
      shape: shapeOf(parent, request),
      earliestEnd: minimumExpiry(parent, minimumLifetime, delegatedLifetime, this.#now()),
    }
  }

  #now(): Date {
    return floorToSecond(this.#deps.clock.now())
  }
}
