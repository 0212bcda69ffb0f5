import type { Logger } from 'pino'
import {
  agrees,
  type ChildRecord,
  childExpiry,
  childScopes,
  type DelegationLimits,
  type DelegationRequest,
  minimumExpiry,
  outlives,
  requestKey,
  requireDepth,
  requireParentLifetime,
  requireRoom,
} from '../../domain/delegation.ts'
import { UnauthenticatedError } from '../../domain/errors.ts'
import {
  type DelegationRights,
  type Delegator,
  delegatorName,
  parentRole,
  requireChain,
  requireGateway,
  requireGatewayService,
} from '../../domain/gateway.ts'
import { requireHeld } from '../../domain/scope.ts'
import { type DelegatedTokenData, generateToken, type TokenData } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import type { ChildQuery } from '../../stores/database/child-query.ts'
import type { LockedParent, TokenDatabase, TokenTransaction } from '../../stores/database/token-database.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import type { OrphanDetector } from '../maintenance/orphan-detector.ts'
import { grantedByBoth, holdCurrentToken, readHeld } from '../tokens/current-token.ts'
import type { TokenIssuer } from '../tokens/token-issuer.ts'
import { writerOfToken } from '../tokens/write-limit.ts'

/** Where a delegated token was found, or that it is new. */
export type DelegationSource = 'cache' | 'database' | 'new'

export interface DelegatedToken {
  readonly data: DelegatedTokenData
  readonly source: DelegationSource
}

/** A checked request that the in-memory cache has no token for. */
export interface ChildRequest {
  readonly parent: TokenData
  readonly by: Delegator
  readonly request: DelegationRequest
  readonly minimumLifetime: number | undefined
  readonly ipAddress: string | null
}

export interface ChildIssuerDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly issuer: TokenIssuer
  readonly orphanDetector: Pick<OrphanDetector, 'watch' | 'onChange'>
  readonly clock: Clock
  readonly log: Logger
  readonly limits: DelegationLimits
  readonly rights: DelegationRights
  /** Lifetime of a delegated token whose parent does not expire earlier, in seconds. */
  readonly delegatedLifetime: number
}

/** The parent as it is while the transaction holds its row, and the row's values for the limits. */
interface Held {
  readonly parent: TokenData
  readonly row: LockedParent
}

/** Finds the live child of a request in the database, or issues a new child. */
export class ChildIssuer {
  readonly #deps: ChildIssuerDeps

  constructor(deps: ChildIssuerDeps) {
    this.#deps = deps
  }

  /** Returns the live child of a request; `undefined` if there is none. */
  async find(child: ChildRequest): Promise<DelegatedToken | undefined> {
    return this.#firstLive(await this.#deps.database.findChildren(this.#matchesOf(child)), child.parent)
  }

  /** Returns the first child that expires no later than its parent, and whose record agrees with its row. */
  async #firstLive(children: readonly ChildRecord[], parent: TokenData): Promise<DelegatedToken | undefined> {
    for (const child of children) {
      if (outlives(child, parent)) continue
      const data = await this.#deps.tokens.find(child.key)
      if (data && agrees(data, child)) return { data, source: 'database' }
    }
    return undefined
  }

  /** Issues a child, unless another process has issued one meanwhile: then returns that one. */
  create(child: ChildRequest): Promise<DelegatedToken> {
    // Before a child is issued: the parent may be revoked before this resolves.
    this.#deps.orphanDetector.watch(child.parent.token.key)
    // The parent is the writer, not the gateway: one user of a gateway does not hold up the others.
    return this.#deps.issuer.transaction(writerOfToken(child.parent), async (tx, issue) => {
      const { parent, row } = await this.#hold(tx, child)
      const current: ChildRequest = { ...child, parent }
      requireParentLifetime(parent, child.minimumLifetime, this.#now(), parentRole(child.by))
      const matches = this.#matchesOf(current)
      const live = await this.#requireWithinLimits(tx, row, matches, parent)
      if (live) return live
      const data = this.#newChild(current)
      const issued = { data, tokenName: null, parentKey: matches.shape.parentKey }
      const origin = { actor: delegatorName(child.by, parent), ipAddress: child.ipAddress }
      // Another process may have issued the child while this one waited for the lock.
      if (await issue(issued, origin, matches)) return { data, source: 'new' }
      const other = await this.#firstLive(await tx.findChildren(matches), parent)
      if (other) return other
      await issue(issued, origin)
      return { data, source: 'new' }
    })
  }

  /**
   * Counts only near a limit. A live child may be reused even beyond a limit.
   *
   * @returns The live child, if there is one now.
   * @throws {PorthorError} `DELEGATION_TOO_DEEP`, `TOO_MANY_TOKENS`
   */
  async #requireWithinLimits(
    tx: TokenTransaction,
    { depth, isCrowded }: LockedParent,
    matches: ChildQuery,
    parent: TokenData,
  ): Promise<DelegatedToken | undefined> {
    const { limits } = this.#deps
    if (!isCrowded && depth < limits.maxDepth) return undefined
    const live = await this.#firstLive(await tx.findChildren(matches), parent)
    if (live) return live
    requireDepth(depth, limits)
    requireRoom(await tx.countLiveChildren(parent.token.key, this.#now(), limits.maxChildren), limits)
    return undefined
  }

  /**
   * Holds the parent, and the token of the gateway. Returns the parent as it is now: it may have been revoked or narrowed
   * while this transaction waited. The result grants what both stores grant: an edit may have reached only one of them.
   */
  async #hold(tx: TokenTransaction, { parent, request, by }: ChildRequest): Promise<Held> {
    const { limits, rights } = this.#deps
    const gateway = by.kind === 'gateway' ? by.data : undefined
    const row = await tx.lockForDelegation(requestKey(parent, request), limits, gateway?.token.key)
    if (gateway) {
      const held = await holdCurrentToken(this.#deps, tx, { kind: 'token', data: gateway })
      requireGatewayService(requireGateway(held, rights), request, rights)
    }
    const { data } = await readHeld(this.#deps, tx, row, parent)
    if (!data) {
      // Its earlier children may have to be revoked with it.
      this.#deps.orphanDetector.onChange([parent.token.key])
      throw new UnauthenticatedError('unknown', parentRole(by))
    }
    if (!row) {
      this.#deps.log.error(
        { tokenKey: parent.token.key, username: parent.username },
        'stores are desynchronised: a parent is in the token store but not in the database',
      )
      throw new UnauthenticatedError('desynchronised', parentRole(by))
    }
    const current = grantedByBoth(data, row)
    if (request.type === 'internal') requireHeld(request.scopes, current.scopes, parentRole(by))
    requireChain(row.depth > 0, rights)
    return { parent: current, row }
  }

  #newChild({ parent, request }: ChildRequest): DelegatedTokenData {
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

  /** Returns the query for children that match the request. */
  #matchesOf({ parent, request, minimumLifetime }: ChildRequest): ChildQuery {
    const { delegatedLifetime } = this.#deps
    return {
      shape: requestKey(parent, request),
      earliestEnd: minimumExpiry(parent, minimumLifetime, delegatedLifetime, this.#now()),
    }
  }

  #now(): Date {
    return this.#deps.clock.nowToSecond()
  }
}
