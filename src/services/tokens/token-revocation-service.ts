import type { Logger } from 'pino'
import { type Actor, actorName, isAdmin, requireAdmin, requireMayRevoke } from '../../domain/actor.ts'
import { decidedButPending, notFound, UnavailableError } from '../../domain/errors.ts'
import {
  type RevocationFilter,
  requireCriterion,
  requireFindable,
  requireSearchable,
} from '../../domain/filter.ts'
import type { Origin } from '../../domain/history.ts'
import { floorToSecond } from '../../domain/lifetime.ts'
import { serviceOf, type TokenData, type TokenKey } from '../../domain/token.ts'
import { inTime } from '../../lib/in-time.ts'
import type { Turns } from '../../lib/turns.ts'
import type { TokenDatabase } from '../../stores/database/token-database.ts'
import type { TreeTransaction } from '../../stores/database/tree-transaction.ts'
import { withinMs } from '../../stores/deadline.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import type { ChangeCompleter } from './change-completer.ts'
import { type CurrentTokenDeps, currentTokenName, holdCurrentToken } from './current-token.ts'
import type { Caller } from './token-service.ts'

export interface TokenRevocationServiceDeps extends CurrentTokenDeps {
  readonly tokens: TokenStore
  readonly database: Pick<TokenDatabase, 'changeTrees'>
  readonly changeCompleter: Pick<ChangeCompleter, 'revoke'>
  readonly turns: Turns
  readonly log: Logger
}

export interface Revoked {
  readonly count: number
  /** Keys, deepest first; of a dry run, only the first of them. */
  readonly keys: readonly TokenKey[]
}

/** Matching tokens that one transaction decides on, and one takes with all that hangs below them. */
const ROOT_BATCH_SIZE = 10_000

/** How long a caller waits for the answer, in milliseconds; what is decided by then goes on without it. */
const ANSWER_MS = 9_000

/**
 * Revokes tokens, each with the whole tree below it. PostgreSQL decides, in a short transaction that waits for nobody who
 * uses the tokens; from its commit on nobody begins to issue from the named tokens or from those below. Then both stores
 * follow, which is completed whatever fails. The answer goes out when both are done.
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
    const left = this.#timeOf(actor)
    return this.#deps.turns.run(currentTokenName(actor), async () => {
      await withinMs(left(), () => this.#decideOne(actor, ipAddress, key))
      return this.#complete([key], left())
    })
  }

  /**
   * Revokes all tokens that match, and their descendants, until none is left: also those that were created meanwhile,
   * and though the current token is among them. For admins.
   *
   * @throws {PorthorError} `PERMISSION_DENIED`, `INVALID_FILTER`
   * @throws {UnauthenticatedError} The current token has been revoked by somebody else.
   * @throws {UnavailableError} Some may be revoked already: the call can be repeated. Its message says so where that is
   *   known.
   */
  async revokeMatching({ actor, ipAddress }: Caller, filter: RevocationFilter): Promise<Revoked> {
    requireAdmin(actor)
    requireCriterion(filter)
    requireSearchable(filter)
    const left = this.#timeOf(actor)
    const origin: Origin = { actor: actorName(actor), ipAddress }
    const revoked = new Set<TokenKey>()
    return this.#deps.turns.run(currentTokenName(actor), async () => {
      for (;;) {
        const isOwnEnd = actor.kind === 'token' && revoked.has(actor.data.token.key)
        const roots = await withinMs(left(), () =>
          this.#deps.database.changeTrees(async (tx) => {
            if (!isOwnEnd) requireAdmin(await holdCurrentToken(this.#deps, tx, actor))
            const keys = await tx.findMatches(filter, ROOT_BATCH_SIZE)
            await decide(tx, keys, origin)
            return keys
          }),
        )
        if (roots.length === 0) return { count: revoked.size, keys: [...revoked] }
        for (const key of await this.#complete(roots, left())) revoked.add(key)
        if (left() <= 0) throw moreMatch(revoked.size)
      }
    })
  }

  /** What `revokeMatching` would revoke: how many, and the first `first` keys. */
  async findMatching({ actor }: Caller, filter: RevocationFilter, first: number): Promise<Revoked> {
    requireAdmin(actor)
    requireCriterion(filter)
    requireSearchable(filter)
    return this.#deps.database.changeTrees((tx) => tx.findTrees(filter, first))
  }

  /** Milliseconds that are left for the answer. An operator waits for the end of it. */
  #timeOf({ kind }: Actor): () => number {
    const { clock } = this.#deps
    const startedAt = clock.monotonicMs()
    return () =>
      kind === 'operator' ? Number.POSITIVE_INFINITY : ANSWER_MS - (clock.monotonicMs() - startedAt)
  }

  async #decideOne(actor: Actor, ipAddress: string | null, key: TokenKey): Promise<void> {
    await this.#deps.database.changeTrees(async (tx) => {
      const current = await holdCurrentToken(this.#deps, tx, actor)
      requireMayRevoke(current, key)
      const origin: Origin = { actor: actorName(current), ipAddress }
      const username = await tx.findUsername(key)
      if (username === undefined) await this.#recordStray(tx, key, current, origin)
      else if (!maySee(current, username)) throw notFound(key)
      await decide(tx, [key], origin)
    })
  }

  #complete(keys: readonly TokenKey[], limitMs: number): Promise<readonly TokenKey[]> {
    return inTime(this.#deps.changeCompleter.revoke(keys), limitMs, () =>
      decidedButPending('The revocation', new UnavailableError('postgres', new Error('it takes long'))),
    )
  }

  /**
   * Writes down the end of a token that only the token store has. In the database nothing hangs below it: a lineage whose
   * parent's row is gone names no parent any more, and its child is an orphan, which the audit finds.
   */
  async #recordStray(tx: TreeTransaction, key: TokenKey, actor: Actor, origin: Origin): Promise<void> {
    const data = await this.#deps.tokens.find(key, { isFresh: true })
    if (!data || !maySee(actor, data.username)) throw notFound(key)
    // Decided before, and not completed: it is written down already.
    if ((await tx.findRevocations([key])).size > 0) return
    await tx.recordRevocation(describe(data), origin, floorToSecond(this.#deps.clock.now()))
  }
}

/** Decides what is not decided yet: of what is, somebody may hold the decision, and wait for those who use the tokens. */
async function decide(tx: TreeTransaction, keys: readonly TokenKey[], origin: Origin): Promise<void> {
  const decided = await tx.findRevocations(keys)
  await tx.decideRevocations(
    keys.filter((key) => !decided.has(key)),
    origin,
  )
}

const moreMatch = (count: number): UnavailableError =>
  new UnavailableError(
    'postgres',
    new Error('tokens that match are created faster than they are revoked, or are too many'),
    `${count} tokens are revoked, and there may be more that match: repeat the call. Where they are created meanwhile, first revoke the tokens that create them.`,
  )

const maySee = (actor: Actor, username: string): boolean => isAdmin(actor) || username === actorName(actor)

const describe = (data: TokenData) => ({
  key: data.token.key,
  username: data.username,
  type: data.type,
  service: serviceOf(data),
  scopes: data.scopes,
  expiresAt: data.expiresAt,
})
