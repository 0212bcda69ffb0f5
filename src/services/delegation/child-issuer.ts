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
import { requireHeld } from '../../domain/scope.ts'
import { type DelegatedTokenData, generateToken, type TokenData } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import type { ChildQuery } from '../../stores/database/child-query.ts'
import type { LockedParent, TokenDatabase, TokenTransaction } from '../../stores/database/token-database.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import type { OrphanDetector } from '../maintenance/orphan-detector.ts'
import { grantedByBoth, readHeld } from '../tokens/current-token.ts'
import type { TokenIssuer } from '../tokens/token-issuer.ts'

/** Where an answer came from. */
export type DelegationSource = 'cache' | 'database' | 'new'

export interface DelegatedToken {
  readonly data: DelegatedTokenData
  readonly source: DelegationSource
}

/** A request that memory could not answer, checked. */
export interface ChildRequest {
  readonly parent: TokenData
  readonly request: DelegationRequest
  readonly minimumLifetime: number | undefined
  readonly ipAddress: string | null
}

export interface ChildIssuerDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly issuer: TokenIssuer
  readonly orphanDetector: Pick<OrphanDetector, 'note' | 'onChange'>
  readonly clock: Clock
  readonly log: Logger
  readonly limits: DelegationLimits
  /** How long a delegated token lives when its parent does not end sooner, in seconds. */
  readonly delegatedLifetime: number
}

/** What the transaction that issues a child holds: the parent as it is now, and what its row says of the limits. */
interface Held {
  readonly parent: TokenData
  readonly row: LockedParent
}

/** Finds the live child of a request in the database, and issues one where there is none. */
export class ChildIssuer {
  readonly #deps: ChildIssuerDeps

  constructor(deps: ChildIssuerDeps) {
    this.#deps = deps
  }

  async find(child: ChildRequest): Promise<DelegatedToken | undefined> {
    return this.#firstLive(await this.#deps.database.findChildren(this.#matchesOf(child)), child.parent)
  }

  /** The first of the children that ends with its parent or before, and that the token store has with the same facts. */
  async #firstLive(children: readonly ChildRecord[], parent: TokenData): Promise<DelegatedToken | undefined> {
    for (const child of children) {
      if (outlives(child, parent)) continue
      const data = await this.#deps.tokens.find(child.key)
      if (data && agrees(data, child)) return { data, source: 'database' }
    }
    return undefined
  }

  /** Issues a child, unless another process has done so meanwhile. */
  create(child: ChildRequest): Promise<DelegatedToken> {
    // Before anything is issued: word that the parent is gone may come before the answer.
    this.#deps.orphanDetector.note(child.parent.token.key)
    return this.#deps.issuer.transaction(child.parent.token.key, async (tx, issue) => {
      const { parent, row } = await this.#hold(tx, child)
      const current: ChildRequest = { ...child, parent }
      requireParentLifetime(parent, child.minimumLifetime, this.#now())
      const matches = this.#matchesOf(current)
      const live = await this.#requireWithinLimits(tx, row, matches, parent)
      if (live) return live
      const data = this.#newChild(current)
      const issued = { data, tokenName: null, parentKey: matches.shape.parentKey }
      const origin = { actor: data.username, ipAddress: child.ipAddress }
      // Another process may have made it while this one waited for the lock.
      if (await issue(issued, origin, matches)) return { data, source: 'new' }
      const other = await this.#firstLive(await tx.findChildren(matches), parent)
      if (other) return other
      await issue(issued, origin)
      return { data, source: 'new' }
    })
  }

  /**
   * Near a limit, and only there, it takes a closer look. What lives already may be reused even beyond a limit.
   *
   * @returns The live child where there is one by now.
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
   * Holds the parent, and returns it as it is now: while this transaction waited, it may have been
   * revoked, or have lost some of its life or scopes. It has what both stores say: an edit may have
   * reached one of them alone.
   */
  async #hold(tx: TokenTransaction, { parent, request }: ChildRequest): Promise<Held> {
    const row = await tx.lockForDelegation(requestKey(parent, request), this.#deps.limits)
    const { data } = await readHeld(this.#deps, tx, row, parent)
    if (!data) {
      // What was delegated from it earlier may have to end with it.
      this.#deps.orphanDetector.onChange([parent.token.key])
      throw new UnauthenticatedError('unknown')
    }
    if (!row) {
      this.#deps.log.error(
        { tokenKey: parent.token.key, username: parent.username },
        'stores are desynchronised: a parent is in the token store but not in the database',
      )
      throw new UnauthenticatedError('desynchronised')
    }
    const current = grantedByBoth(data, row)
    if (request.type === 'internal') requireHeld(request.scopes, current.scopes)
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

  /** What the database may have that would do. */
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
