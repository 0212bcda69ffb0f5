import type { Logger } from 'pino'
import { type Actor, actorName, isAdmin, requireAdmin, requireMayRevoke } from '../domain/actor.ts'
import { notFound } from '../domain/errors.ts'
import {
  type RevocationFilter,
  requireCriterion,
  requireFindable,
  requireSearchable,
} from '../domain/filter.ts'
import type { Origin } from '../domain/history.ts'
import { floorToSecond } from '../domain/lifetime.ts'
import { serviceOf, type TokenData, type TokenKey } from '../domain/token.ts'
import type { Clock } from '../lib/clock.ts'
import { slicesOf } from '../lib/slices.ts'
import type { TokenDatabase } from '../stores/token-database.ts'
import type { TokenStore } from '../stores/token-store.ts'
import type { LockedToken, TreeTransaction } from '../stores/tree-transaction.ts'
import type { Caller } from './token-service.ts'
import { lockTrees } from './token-tree.ts'

export interface TokenRevocationServiceDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly clock: Clock
  readonly log: Logger
}

export interface Revoked {
  readonly count: number
  /** Keys, deepest first; of a dry run, only the first of them. */
  readonly keys: readonly TokenKey[]
}

/** Matching tokens that one transaction takes on, with all that hangs below them. */
const ROOTS_AT_ONCE = 10_000

/** Store entries deleted between two words to the database, which ends a transaction that is silent for long. */
const ENTRIES_AT_ONCE = 1_000

/**
 * Ends tokens, each with the whole tree below it. The answer goes out when both stores are done. Where
 * one fails the call can be repeated: the token store is emptied first, so that nothing that was named
 * is valid any more, and the rows that remain are found again.
 */
export class TokenRevocationService {
  readonly #deps: TokenRevocationServiceDeps

  constructor(deps: TokenRevocationServiceDeps) {
    this.#deps = deps
  }

  /**
   * Revokes one token: an admin any, others their own with `user:token`, and the current token always itself.
   *
   * @returns All keys that died, the named one last.
   * @throws {PorthorError} `PERMISSION_DENIED`, `NOT_FOUND`
   * @throws {UnavailableError}
   */
  async revoke({ actor, ipAddress }: Caller, key: TokenKey): Promise<readonly TokenKey[]> {
    requireMayRevoke(actor, key)
    requireFindable(key)
    const origin: Origin = { actor: actorName(actor), ipAddress }
    const revoked = await this.#deps.database.changeTrees(async (tx) => {
      const token = await tx.lock(key)
      if (!token) return this.#revokeStrayEntry(tx, key, actor, origin)
      if (!maySee(actor, token.username)) throw notFound(key)
      return this.#revokeTrees(tx, [token], origin)
    })
    this.#logRevoked(revoked, origin)
    return revoked
  }

  /**
   * Revokes all tokens that match, and their descendants. For admins.
   *
   * @throws {PorthorError} `PERMISSION_DENIED`, `INVALID_FILTER`
   * @throws {UnavailableError} Some may be revoked already: the call can be repeated.
   */
  async revokeMatching({ actor, ipAddress }: Caller, filter: RevocationFilter): Promise<Revoked> {
    requireAdmin(actor)
    requireCriterion(filter)
    requireSearchable(filter)
    const origin: Origin = { actor: actorName(actor), ipAddress }
    const batches: (readonly TokenKey[])[] = []
    for (let isDone = false; !isDone; ) {
      const revoked = await this.#deps.database.changeTrees(async (tx) => {
        const roots = await tx.lockMatches(filter, ROOTS_AT_ONCE)
        isDone = roots.length < ROOTS_AT_ONCE
        return this.#revokeTrees(tx, roots, origin)
      })
      this.#logRevoked(revoked, origin)
      batches.push(revoked)
    }
    const keys = batches.flat()
    return { count: keys.length, keys }
  }

  /** What `revokeMatching` would revoke: how many, and the first `first` keys. */
  async findMatching({ actor }: Caller, filter: RevocationFilter, first: number): Promise<Revoked> {
    requireAdmin(actor)
    requireCriterion(filter)
    requireSearchable(filter)
    return this.#deps.database.changeTrees((tx) => tx.findTrees(filter, first))
  }

  async #revokeTrees(
    tx: TreeTransaction,
    roots: readonly LockedToken[],
    origin: Origin,
  ): Promise<readonly TokenKey[]> {
    const trees = await lockTrees(tx, roots)
    const keys = trees
      .flat()
      .map((token) => token.key)
      .reverse()
    for (const slice of slicesOf(keys, ENTRIES_AT_ONCE)) {
      await this.#deps.tokens.delete(slice)
      await tx.stay()
    }
    await tx.revoke(keys, origin, this.#now())
    return keys
  }

  /**
   * Ends a token that only the token store has. On record nothing hangs below it: a lineage whose parent's row
   * is gone names no parent any more, and its child is an orphan, which the audit finds.
   */
  async #revokeStrayEntry(
    tx: TreeTransaction,
    key: TokenKey,
    actor: Actor,
    origin: Origin,
  ): Promise<readonly TokenKey[]> {
    const data = await this.#deps.tokens.get(key, { isFresh: true })
    if (!data || !maySee(actor, data.username)) throw notFound(key)
    await this.#deps.tokens.delete([key])
    await tx.recordRevocation(describe(data), origin, this.#now())
    return [key]
  }

  #logRevoked(keys: readonly TokenKey[], { actor }: Origin): void {
    for (const tokenKey of keys) this.#deps.log.info({ tokenKey, actor }, 'revoked token')
  }

  #now(): Date {
    return floorToSecond(this.#deps.clock.now())
  }
}

const maySee = (actor: Actor, username: string): boolean => isAdmin(actor) || username === actorName(actor)

const describe = (data: TokenData) => ({
  key: data.token.key,
  username: data.username,
  type: data.type,
  service: serviceOf(data),
  scopes: data.scopes,
  expiresAt: data.expiresAt,
})
