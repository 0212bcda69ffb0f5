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
import type { TokenDatabase } from '../stores/token-database.ts'
import type { TokenStore } from '../stores/token-store.ts'
import type { LockedToken, TreeTransaction } from '../stores/tree-transaction.ts'
import type { ChangeFinisher } from './change-finisher.ts'
import { type CurrentTokenDeps, holdCurrentToken } from './current-token.ts'
import type { Caller } from './token-service.ts'

export interface TokenRevocationServiceDeps extends CurrentTokenDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly finisher: Pick<ChangeFinisher, 'revoke'>
  readonly log: Logger
}

export interface Revoked {
  readonly count: number
  /** Keys, deepest first; of a dry run, only the first of them. */
  readonly keys: readonly TokenKey[]
}

/** Matching tokens that one transaction takes on, with all that hangs below them. */
const ROOTS_AT_ONCE = 10_000

/**
 * Revokes tokens, each with the whole tree below it. PostgreSQL decides, in a short transaction; from its commit on
 * nothing is issued from the named tokens. Then both stores follow, which is completed whatever fails. The answer goes
 * out when both are done.
 */
export class TokenRevocationService {
  readonly #deps: TokenRevocationServiceDeps

  constructor(deps: TokenRevocationServiceDeps) {
    this.#deps = deps
  }

  /**
   * Revokes one token: an admin any, others their own with `user:token`, and the current token always itself.
   *
   * @returns All keys that ended, the named one last.
   * @throws {PorthorError} `PERMISSION_DENIED`, `NOT_FOUND`
   * @throws {UnauthenticatedError} The current token has been revoked since it was authenticated.
   * @throws {UnavailableError} Its message says so where the revocation is decided and will be completed.
   */
  async revoke({ actor, ipAddress }: Caller, key: TokenKey): Promise<readonly TokenKey[]> {
    requireMayRevoke(actor, key)
    requireFindable(key)
    await this.#deps.database.changeTrees(async (tx) => {
      const { current, token } = await this.#holdBoth(tx, actor, key)
      requireMayRevoke(current, key)
      const origin: Origin = { actor: actorName(current), ipAddress }
      if (!token) await this.#recordStray(tx, key, current, origin)
      else if (!maySee(current, token.username)) throw notFound(key)
      await decide(tx, [key], origin)
    })
    return this.#deps.finisher.revoke([key])
  }

  /**
   * Revokes all tokens that match, and their descendants, until none is left: also those that were created meanwhile,
   * and though the current token is among them. For admins.
   *
   * @throws {PorthorError} `PERMISSION_DENIED`, `INVALID_FILTER`
   * @throws {UnauthenticatedError} The current token has been revoked by somebody else.
   * @throws {UnavailableError} Some may be revoked already: the call can be repeated.
   */
  async revokeMatching({ actor, ipAddress }: Caller, filter: RevocationFilter): Promise<Revoked> {
    requireAdmin(actor)
    requireCriterion(filter)
    requireSearchable(filter)
    const origin: Origin = { actor: actorName(actor), ipAddress }
    const revoked = new Set<TokenKey>()
    for (;;) {
      const isOwnEnd = actor.kind === 'token' && revoked.has(actor.data.token.key)
      const roots = await this.#deps.database.changeTrees(async (tx) => {
        if (!isOwnEnd) requireAdmin(await holdCurrentToken(this.#deps, tx, actor))
        const keys = (await tx.lockMatches(filter, ROOTS_AT_ONCE)).map(({ key }) => key)
        await decide(tx, keys, origin)
        return keys
      })
      if (roots.length === 0) return { count: revoked.size, keys: [...revoked] }
      for (const key of await this.#deps.finisher.revoke(roots)) revoked.add(key)
    }
  }

  /** What `revokeMatching` would revoke: how many, and the first `first` keys. */
  async findMatching({ actor }: Caller, filter: RevocationFilter, first: number): Promise<Revoked> {
    requireAdmin(actor)
    requireCriterion(filter)
    requireSearchable(filter)
    return this.#deps.database.changeTrees((tx) => tx.findTrees(filter, first))
  }

  /** Takes both rows in the order of their keys: who revokes each other at the same time must not wait for each other. */
  async #holdBoth(
    tx: TreeTransaction,
    actor: Actor,
    key: TokenKey,
  ): Promise<{ readonly current: Actor; readonly token: LockedToken | undefined }> {
    const isFirst = actor.kind === 'token' && actor.data.token.key < key
    if (isFirst) {
      const current = await holdCurrentToken(this.#deps, tx, actor)
      return { current, token: await tx.lock(key) }
    }
    const token = await tx.lock(key)
    return { current: await holdCurrentToken(this.#deps, tx, actor), token }
  }

  /**
   * Writes down the end of a token that only the token store has. In the database nothing hangs below it: a lineage whose
   * parent's row is gone names no parent any more, and its child is an orphan, which the audit finds.
   */
  async #recordStray(tx: TreeTransaction, key: TokenKey, actor: Actor, origin: Origin): Promise<void> {
    const data = await this.#deps.tokens.get(key, { isFresh: true })
    if (!data || !maySee(actor, data.username)) throw notFound(key)
    // Decided before, and not completed: it is written down already.
    if (await tx.isBeingRevoked(key)) return
    await tx.recordRevocation(describe(data), origin, floorToSecond(this.#deps.clock.now()))
  }
}

/** Decides what is not decided yet: of what is, somebody may hold the decision, and wait for the tokens. */
async function decide(tx: TreeTransaction, keys: readonly TokenKey[], origin: Origin): Promise<void> {
  const decided = await tx.findRevocations(keys)
  await tx.decideRevocations(
    keys.filter((key) => !decided.has(key)),
    origin,
  )
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
