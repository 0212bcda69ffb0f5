import type { Logger } from 'pino'
import { type Actor, actorName, maySee, requireAdmin, requireMayRevoke } from '../../domain/actor.ts'
import { decidedButPending, notFound, UnavailableError } from '../../domain/errors.ts'
import {
  parseTokenKey,
  type RevocationFilter,
  requireCriterion,
  requireSearchable,
} from '../../domain/filter.ts'
import type { Origin } from '../../domain/history.ts'
import { serviceOf, type TokenData, type TokenKey } from '../../domain/token.ts'
import { withTimeout } from '../../lib/with-timeout.ts'
import type { TokenDatabase } from '../../stores/database/token-database.ts'
import type { TreeTransaction } from '../../stores/database/tree-transaction.ts'
import { withinMs } from '../../stores/deadline.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import { type CurrentTokenDeps, holdCurrentToken } from './current-token.ts'
import type { PendingChangeCompleter } from './pending-change-completer.ts'
import { startResponseTimer } from './response-limit.ts'
import type { Caller } from './token-service.ts'
import { type WriteLimit, writerOf } from './write-limit.ts'

export interface TokenRevocationServiceDeps extends CurrentTokenDeps {
  readonly tokens: TokenStore
  readonly database: Pick<TokenDatabase, 'changeTrees'>
  readonly pendingChanges: Pick<PendingChangeCompleter, 'completeRevocations'>
  readonly writeLimit: WriteLimit
  readonly log: Logger
}

export interface Revoked {
  readonly count: number
  /** Token keys, descendants before their ancestors; a dry run returns only the first ones. */
  readonly keys: readonly TokenKey[]
}

/** Matching tokens that are decided in one transaction, and revoked with their descendants in another one. */
const ROOT_BATCH_SIZE = 10_000

/**
 * Revokes tokens, each with all its descendants. A short transaction in PostgreSQL decides, without waiting for requests
 * that use the tokens; after its commit no request begins to issue from a named token or a descendant. Then both stores
 * follow, which is completed whatever fails. The caller waits for both.
 */
export class TokenRevocationService {
  readonly #deps: TokenRevocationServiceDeps

  constructor(deps: TokenRevocationServiceDeps) {
    this.#deps = deps
  }

  /**
   * Revokes one token: an admin may revoke any, others their own with `user:token`; the current token may always be.
   *
   * @returns The keys of all revoked tokens, the named one last.
   * @throws {PorthorError} `PERMISSION_DENIED`, `NOT_FOUND`
   * @throws {UnauthenticatedError} The current token has been revoked since it was authenticated.
   * @throws {UnavailableError} Its message says so if the revocation is recorded and will be completed.
   */
  async revoke({ actor, ipAddress }: Caller, givenKey: string): Promise<readonly TokenKey[]> {
    requireMayRevoke(actor, givenKey)
    const key = parseTokenKey(givenKey)
    const left = startResponseTimer(this.#deps.clock, actor)
    return this.#deps.writeLimit.run(writerOf(actor), async () => {
      await withinMs(left(), () => this.#decideOne(actor, ipAddress, key))
      return this.#complete([key], left())
    })
  }

  /**
   * Revokes a token for whoever has presented its bearer string: also one that may not act, or has no row. Nothing is to do
   * where it has been revoked meanwhile.
   *
   * @throws {UnavailableError} As `revoke`.
   */
  async revokePresented(data: TokenData, ipAddress: string | null): Promise<void> {
    const { key } = data.token
    const holder: Actor = { kind: 'token', data }
    const left = startResponseTimer(this.#deps.clock, holder)
    await this.#deps.writeLimit.run(writerOf(holder), async () => {
      const origin: Origin = { actor: actorName(holder), ipAddress }
      const isDecided = await withinMs(left(), () =>
        this.#deps.database.changeTrees(async (tx) => {
          if ((await tx.findUsername(key)) === undefined) {
            const stray = await this.#findStray(key)
            if (!stray) return false
            await this.#recordStray(tx, stray, origin)
          }
          await decide(tx, [key], origin)
          return true
        }),
      )
      if (isDecided) await this.#complete([key], left())
    })
  }

  /**
   * Revokes all tokens that match, and their descendants, until no token matches: also tokens that are created
   * meanwhile, and also if the current token is one of them. For admins.
   *
   * @throws {PorthorError} `PERMISSION_DENIED`, `INVALID_FILTER`
   * @throws {UnauthenticatedError} Another request has revoked the current token.
   * @throws {UnavailableError} Some tokens may be revoked: the call can be repeated. Its message says so if that is
   *   known.
   */
  async revokeMatching({ actor, ipAddress }: Caller, filter: RevocationFilter): Promise<Revoked> {
    requireAdmin(actor)
    requireCriterion(filter)
    requireSearchable(filter)
    const left = startResponseTimer(this.#deps.clock, actor)
    const origin: Origin = { actor: actorName(actor), ipAddress }
    const revoked = new Set<TokenKey>()
    return this.#deps.writeLimit.run(writerOf(actor), async () => {
      for (;;) {
        const isCurrentRevoked = actor.kind === 'token' && revoked.has(actor.data.token.key)
        const roots = await withinMs(left(), () =>
          this.#deps.database.changeTrees(async (tx) => {
            if (!isCurrentRevoked) requireAdmin(await holdCurrentToken(this.#deps, tx, actor))
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

  /** Returns what `revokeMatching` would revoke: the number of tokens, and the first `first` keys. */
  async findMatching({ actor }: Caller, filter: RevocationFilter, first: number): Promise<Revoked> {
    requireAdmin(actor)
    requireCriterion(filter)
    requireSearchable(filter)
    return this.#deps.database.changeTrees((tx) => tx.findTrees(filter, first))
  }

  async #decideOne(actor: Actor, ipAddress: string | null, key: TokenKey): Promise<void> {
    await this.#deps.database.changeTrees(async (tx) => {
      const current = await holdCurrentToken(this.#deps, tx, actor)
      requireMayRevoke(current, key)
      const origin: Origin = { actor: actorName(current), ipAddress }
      const username = await tx.findUsername(key)
      const stray = username === undefined ? await this.#findStray(key) : undefined
      const owner = username ?? stray?.username
      if (owner === undefined || !maySee(current, owner)) throw notFound(key)
      if (stray) await this.#recordStray(tx, stray, origin)
      await decide(tx, [key], origin)
    })
  }

  #complete(keys: readonly TokenKey[], limitMs: number): Promise<readonly TokenKey[]> {
    return withTimeout(this.#deps.pendingChanges.completeRevocations(keys), limitMs, () =>
      decidedButPending(
        'The revocation',
        new UnavailableError('postgres', new Error('the revocation takes longer than a response may')),
      ),
    )
  }

  /** Returns the token with this key, which only the token store has; `undefined` if that has none either. */
  #findStray(key: TokenKey): Promise<TokenData | undefined> {
    return this.#deps.tokens.find(key, { isFresh: true })
  }

  /**
   * Records the revocation of a token that only the token store has. The database has no children of it: a lineage whose
   * parent's row is deleted names no parent, and its child is an orphan, which the audit finds.
   */
  async #recordStray(tx: TreeTransaction, stray: TokenData, origin: Origin): Promise<void> {
    // Decided before, and not completed: it is recorded already.
    if ((await tx.findRevocations([stray.token.key])).size > 0) return
    await tx.recordRevocation(describe(stray), origin, this.#deps.clock.nowToSecond())
  }
}

/** Decides what is not decided yet: to decide again would wait for a completer that waits for users of the tokens. */
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
    `${count} tokens are revoked, and more may match: repeat the call. If matching tokens are still being created, first revoke the tokens that create them.`,
  )

const describe = (data: TokenData) => ({
  key: data.token.key,
  username: data.username,
  type: data.type,
  service: serviceOf(data),
  scopes: data.scopes,
  expiresAt: data.expiresAt,
})
