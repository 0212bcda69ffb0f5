import type { Logger } from 'pino'
import { decidedButPending, UnavailableError } from '../domain/errors.ts'
import { floorToSecond } from '../domain/lifetime.ts'
import type { TokenKey } from '../domain/token.ts'
import type { Clock } from '../lib/clock.ts'
import { slicesOf } from '../lib/slices.ts'
import type { PendingChangeDatabase } from '../stores/pending-change-database.ts'
import type { EditedFacts, PendingChange } from '../stores/pending-changes.ts'
import type { TokenDatabase } from '../stores/token-database.ts'
import type { TokenStore } from '../stores/token-store.ts'
import type { TreeTransaction } from '../stores/tree-transaction.ts'
import type { DecidedChange, Follow, TokenChangeApplier } from './token-change-applier.ts'
import { lockTrees } from './token-tree.ts'

export interface ChangeFinisherDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly pending: PendingChangeDatabase
  readonly applier: TokenChangeApplier
  readonly clock: Clock
  readonly log: Logger
}

/** Records deleted between two statements: PostgreSQL ends a transaction that is silent for long. */
const RECORDS_AT_ONCE = 1_000

/** Pending changes that are looked at together. */
const BATCH = 1_000

/** Age at which a pending change is taken up by others than who decided it, in seconds. */
const TAKEN_UP_SECONDS = 3

/**
 * Completes the changes that PostgreSQL has decided: a revocation or an edit, once begun, is finished, by whichever
 * process, however often one of the stores fails or a process is killed in between. Everything that is sent to the token
 * store was decided before, so that it does no harm however late it arrives.
 */
export class ChangeFinisher {
  readonly #deps: ChangeFinisherDeps

  constructor(deps: ChangeFinisherDeps) {
    this.#deps = deps
  }

  /**
   * Ends the trees below tokens whose revocation is decided. The records of the named ones go first of all, before
   * anything is listed: nothing below them can keep them alive.
   *
   * @returns The keys that ended, the deepest first.
   * @throws {UnavailableError} They are still decided, and will be completed.
   */
  async revoke(keys: readonly TokenKey[]): Promise<readonly TokenKey[]> {
    try {
      return await this.#revoke(keys, false)
    } catch (error) {
      throw error instanceof UnavailableError ? decidedButPending('The revocation', error) : error
    }
  }

  /**
   * Has the records follow an edit that is decided: those of the descendants, which may have lost something, and then
   * that of the token.
   *
   * @throws {UnavailableError} It is still decided, and will be completed.
   */
  async edit(key: TokenKey): Promise<void> {
    try {
      await this.#edit(key)
    } catch (error) {
      throw error instanceof UnavailableError ? decidedButPending('The change', error) : error
    }
  }

  /**
   * Completes what others have left.
   *
   * @param minAgeSeconds Leaves younger changes to those who have decided them and are at it.
   * @returns How many changes were completed.
   * @throws {UnavailableError} The others are still decided.
   */
  async run(minAgeSeconds = TAKEN_UP_SECONDS): Promise<number> {
    let total = 0
    for (;;) {
      const pending = await this.#deps.pending.find(minAgeSeconds, BATCH)
      let completed = 0
      for (const group of groupsOf(pending)) completed += await this.#complete(group)
      total += completed
      // What is left others are at.
      if (completed === 0 || pending.length < BATCH) return total
    }
  }

  async #complete(group: readonly PendingChange[]): Promise<number> {
    const [first] = group
    if (!first) return 0
    const keys = group.map(({ key }) => key)
    if (first.action === 'edit') await this.#edit(first.key)
    else if ((await this.#revoke(keys, true)).length === 0) return 0
    this.#deps.log.info({ tokenKeys: keys, action: first.action }, 'completed pending changes')
    return group.length
  }

  async #revoke(keys: readonly TokenKey[], skipLocked: boolean): Promise<readonly TokenKey[]> {
    const { tokens, database, log } = this.#deps
    await tokens.delete(keys)
    let found = new Set<TokenKey>()
    const done = await database.changeTrees(async (tx) => {
      const pending = await tx.lockRevocations(keys, skipLocked)
      found = new Set(pending.map(({ key }) => key))
      const ended: { readonly keys: readonly TokenKey[]; readonly actor: string }[] = []
      for (const group of groupsOf(pending)) ended.push(await this.#endTrees(tx, group))
      return ended
    })
    for (const { keys: ended, actor } of done) {
      for (const tokenKey of ended) log.info({ tokenKey, actor }, 'revoked token')
    }
    const revoked = done.flatMap((each) => each.keys)
    if (skipLocked || found.size === keys.length) return revoked
    // Somebody else has completed the others since they were decided.
    const others = await this.#deps.pending.findRevoked(keys.filter((key) => !found.has(key)))
    return [...new Set([...revoked, ...others])]
  }

  async #endTrees(tx: TreeTransaction, pending: readonly PendingChange[]) {
    const named = pending.map(({ key }) => key)
    const origin = pending[0]?.origin ?? { actor: '', ipAddress: null }
    const trees = await lockTrees(tx, await tx.lockAll(named))
    const rows = trees
      .flat()
      .map(({ key }) => key)
      .reverse()
    for (const slice of slicesOf(rows, RECORDS_AT_ONCE)) {
      await this.#deps.tokens.delete(slice)
      await tx.stay()
    }
    await tx.revoke(rows, origin, floorToSecond(this.#deps.clock.now()))
    await tx.deletePendingChanges(pending)
    const found = new Set(rows)
    return { keys: [...rows, ...named.filter((key) => !found.has(key))], actor: origin.actor }
  }

  async #edit(key: TokenKey): Promise<void> {
    const { database, pending, applier } = this.#deps
    for (;;) {
      const edit = await pending.findEdit(key)
      if (!edit) return
      const below = await database.changeTrees(async (tx) => {
        const keys: TokenKey[] = []
        for await (const links of tx.listBelow([key])) keys.push(...links.map(({ child }) => child))
        return keys.reverse()
      })
      // The deepest first: a child should not have more than its parent meanwhile.
      await applier.apply(below.filter((each) => each !== key).map((each) => follow(each, edit, 'narrow')))
      await applier.apply([follow(key, edit, 'row')])
      await pending.delete([edit])
    }
  }
}

/** What an edit is about follows as `how` says, and the rest stays as it is. */
const follow = (key: TokenKey, { hasScopes, hasExpires }: EditedFacts, how: Follow): DecidedChange => ({
  key,
  scopes: hasScopes ? how : 'keep',
  expiresAt: hasExpires ? how : 'keep',
})

/** Revocations with the same origin together, and each edit for itself. */
function groupsOf(changes: readonly PendingChange[]): readonly (readonly PendingChange[])[] {
  const groups = new Map<string, PendingChange[]>()
  for (const change of changes) {
    const { actor, ipAddress } = change.origin
    const name = change.action === 'edit' ? change.key : JSON.stringify([actor, ipAddress])
    const group = groups.get(name)
    if (group) group.push(change)
    else groups.set(name, [change])
  }
  return [...groups.values()]
}
