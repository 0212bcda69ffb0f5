import type { Logger } from 'pino'
import { decidedButPending, UnavailableError } from '../../domain/errors.ts'
import type { TokenKey } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { EqualLines } from '../../lib/equal-lines.ts'
import { slicesOf } from '../../lib/slices.ts'
import type { PendingChangeDatabase } from '../../stores/database/pending-change-database.ts'
import type { EditedFacts, PendingChange } from '../../stores/database/pending-changes.ts'
import type { TokenDatabase } from '../../stores/database/token-database.ts'
import type { TreeTransaction } from '../../stores/database/tree-transaction.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import type { DecidedChange, Follow, TokenChangeApplier } from './token-change-applier.ts'
import { lockTrees } from './token-tree.ts'

export interface ChangeCompleterDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly pending: PendingChangeDatabase
  readonly applier: TokenChangeApplier
  readonly clock: Clock
  readonly log: Logger
}

/** Records deleted between two statements: PostgreSQL ends a transaction that is silent for long. */
const RECORD_BATCH_SIZE = 1_000

/** Pending changes that are looked at together. */
const BATCH = 1_000

/** Token keys in a log line. */
const MAX_KEYS_IN_LOG = 20

/** How long a run goes on taking up changes, in milliseconds. */
const RUN_MS = 60_000

/** Age at which a pending change is taken up by others than who decided it, in seconds. */
const TAKEN_UP_SECONDS = 3

interface Run {
  completed: number
  readonly errors: unknown[]
  readonly isOver: () => boolean
}

/**
 * Completes the changes that PostgreSQL has decided: a revocation or an edit, once begun, is finished, by whichever
 * process, however often one of the stores fails or a process is killed in between. Everything that is sent to the token
 * store was decided before, so that it does no harm however late it arrives.
 */
export class ChangeCompleter {
  readonly #deps: ChangeCompleterDeps
  readonly #lines: EqualLines

  constructor(deps: ChangeCompleterDeps) {
    this.#deps = deps
    this.#lines = new EqualLines(deps.log)
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
      return await this.#revoke(keys)
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
   * Completes what others have left. One that cannot be completed keeps off no other, and is tried again alone.
   *
   * @param minAgeSeconds Leaves younger changes to those who have decided them and are at it.
   * @returns How many changes were completed.
   * @throws the first error, when all have been tried for which there was time: these are still decided.
   */
  async run(minAgeSeconds = TAKEN_UP_SECONDS): Promise<number> {
    const { tokens, pending, clock } = this.#deps
    const startedAt = clock.monotonicMs()
    const run: Run = { completed: 0, errors: [], isOver: () => clock.monotonicMs() - startedAt > RUN_MS }
    let page: readonly PendingChange[]
    let lastId = 0n
    do {
      page = await pending.find(minAgeSeconds, lastId, BATCH)
      lastId = page.at(-1)?.id ?? lastId
      const revoked = page.filter(({ action }) => action === 'revoke')
      // The records first: however long the trees take, the named tokens are refused.
      await this.#attempt(run, revoked, () => tokens.delete(revoked.map(({ key }) => key)))
      await this.#completeAll(run, page)
    } while (page.length === BATCH && !run.isOver())
    if (run.errors.length > 0) throw run.errors[0]
    return run.completed
  }

  async #completeAll(run: Run, changes: readonly PendingChange[]): Promise<void> {
    const groups = [...groupsOf(changes)]
    for (const group of groups) {
      if (run.isOver()) return
      const completed = await this.#attempt(run, group, () => this.#complete(group))
      run.completed += completed ?? 0
      // Those that only shared a transaction with one that cannot be completed come through alone.
      if (completed === undefined && group.length > 1) groups.push(...group.map((change) => [change]))
    }
  }

  /** `undefined` where it fails. */
  async #attempt<T>(
    { errors }: Run,
    changes: readonly PendingChange[],
    work: () => Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      errors.push(error)
      const tokenKeys = changes.slice(0, MAX_KEYS_IN_LOG).map(({ key }) => key)
      const fields = { tokenKeys, count: changes.length, fault: String(error) }
      this.#lines.warn(String(error), fields, 'could not complete some pending changes')
      return undefined
    }
  }

  async #complete(group: readonly PendingChange[]): Promise<number> {
    const [first] = group
    if (!first) return 0
    const keys = group.map(({ key }) => key)
    let count = 1
    if (first.action === 'edit') await this.#edit(first.key)
    // Leaves those that others are at.
    else count = (await this.#endDecided(keys, true)).found.size
    if (count > 0) this.#deps.log.info({ tokenKeys: keys, action: first.action }, 'completed pending changes')
    return count
  }

  async #revoke(keys: readonly TokenKey[]): Promise<readonly TokenKey[]> {
    const { found, ended } = await this.#endDecided(keys, false)
    const known = new Set(ended)
    // Somebody else has completed the others since they were decided, or before.
    const others = keys.filter((key) => !found.has(key) || !known.has(key))
    return others.length === 0
      ? ended
      : [...new Set([...ended, ...(await this.#deps.pending.findRevoked(others))])]
  }

  /** Ends the trees below those of `keys` that are still pending. */
  async #endDecided(
    keys: readonly TokenKey[],
    skipLocked: boolean,
  ): Promise<{ readonly found: ReadonlySet<TokenKey>; readonly ended: readonly TokenKey[] }> {
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
    return { found, ended: done.flatMap((each) => each.keys) }
  }

  async #endTrees(tx: TreeTransaction, pending: readonly PendingChange[]) {
    const named = pending.map(({ key }) => key)
    const origin = pending[0]?.origin ?? { actor: '', ipAddress: null }
    const trees = await lockTrees(tx, await tx.lockAll(named))
    const rows = trees
      .flat()
      .map(({ key }) => key)
      .reverse()
    for (const slice of slicesOf(rows, RECORD_BATCH_SIZE)) {
      await this.#deps.tokens.delete(slice)
      await tx.stay()
    }
    await tx.revoke(rows, origin, this.#deps.clock.nowToSecond())
    await tx.deletePendingChanges(pending)
    return { keys: rows, actor: origin.actor }
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
