import type { Logger } from 'pino'
import { decidedButPending, UnavailableError } from '../../domain/errors.ts'
import type { TokenKey } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { RepeatLimitedLog } from '../../lib/repeat-limited-log.ts'
import { slicesOf } from '../../lib/slices.ts'
import type { PendingChangeDatabase } from '../../stores/database/pending-change-database.ts'
import type { EditedFacts, PendingChange } from '../../stores/database/pending-changes.ts'
import type { TokenDatabase } from '../../stores/database/token-database.ts'
import type { TreeTransaction } from '../../stores/database/tree-transaction.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import type { Follow, RecordUpdate, RecordUpdater } from './record-updater.ts'
import { lockTrees } from './token-tree.ts'

export interface PendingChangeCompleterDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly pending: PendingChangeDatabase
  readonly updater: RecordUpdater
  readonly clock: Clock
  readonly log: Logger
}

/** Records deleted between two statements: PostgreSQL closes a transaction that is idle for long. */
const RECORD_BATCH_SIZE = 1_000

/** Pending changes that one query reads. */
const CHANGE_BATCH_SIZE = 1_000

/** Maximum number of token keys in a log message. */
const MAX_LOGGED_KEYS = 20

/** Time after which a run starts no other change, in milliseconds. */
const MAX_RUN_MS = 60_000

/** Age from which a run completes a change that another request has decided, in seconds. */
const MIN_AGE_SECONDS = 3

interface Run {
  completed: number
  readonly errors: unknown[]
  readonly isOver: () => boolean
}

/**
 * Completes the changes that PostgreSQL has decided: a decided revocation or edit is completed by any process, even if
 * stores fail or processes are killed in between. Every command to the token store follows a decision, so that it is
 * correct however late it arrives.
 */
export class PendingChangeCompleter {
  readonly #deps: PendingChangeCompleterDeps
  readonly #lines: RepeatLimitedLog

  constructor(deps: PendingChangeCompleterDeps) {
    this.#deps = deps
    this.#lines = new RepeatLimitedLog(deps.log)
  }

  /**
   * Revokes tokens whose revocation is decided, with their descendants. Deletes the records of the named tokens first:
   * they are refused, however many descendants there are.
   *
   * @returns The revoked keys, the deepest first.
   * @throws {UnavailableError} The revocations stay decided, and will be completed.
   */
  async completeRevocations(keys: readonly TokenKey[]): Promise<readonly TokenKey[]> {
    try {
      return await this.#revoke(keys)
    } catch (error) {
      throw error instanceof UnavailableError ? decidedButPending('The revocation', error) : error
    }
  }

  /**
   * Changes the records after an edit that is decided: first those of the descendants, which may be narrowed, then that of
   * the token.
   *
   * @throws {UnavailableError} The edit stays decided, and will be completed.
   */
  async completeEdit(key: TokenKey): Promise<void> {
    try {
      await this.#edit(key)
    } catch (error) {
      throw error instanceof UnavailableError ? decidedButPending('The change', error) : error
    }
  }

  /**
   * Completes the changes that other requests have left pending. A change that cannot be completed does not prevent the
   * others: each of its group is tried again alone.
   *
   * @param minAgeSeconds Younger changes are left to the requests that have decided them.
   * @returns The number of completed changes.
   * @throws The first error, after all changes have been tried: the failed ones stay decided.
   */
  async completeAll(minAgeSeconds = MIN_AGE_SECONDS): Promise<number> {
    const { tokens, pending, clock } = this.#deps
    const startedAt = clock.monotonicMs()
    const run: Run = { completed: 0, errors: [], isOver: () => clock.monotonicMs() - startedAt > MAX_RUN_MS }
    let page: readonly PendingChange[]
    let lastId = 0n
    do {
      page = await pending.find(minAgeSeconds, lastId, CHANGE_BATCH_SIZE)
      lastId = page.at(-1)?.id ?? lastId
      const revoked = page.filter(({ action }) => action === 'revoke')
      // The records first: the named tokens are refused, however many descendants they have.
      await this.#attempt(run, revoked, () => tokens.delete(revoked.map(({ key }) => key)))
      await this.#completeAll(run, page)
    } while (page.length === CHANGE_BATCH_SIZE && !run.isOver())
    if (run.errors.length > 0) throw run.errors[0]
    return run.completed
  }

  async #completeAll(run: Run, changes: readonly PendingChange[]): Promise<void> {
    const groups = [...groupsOf(changes)]
    for (const group of groups) {
      if (run.isOver()) return
      const completed = await this.#attempt(run, group, () => this.#complete(group))
      run.completed += completed ?? 0
      // A change that only shared a transaction with one that fails can be completed alone.
      if (completed === undefined && group.length > 1) groups.push(...group.map((change) => [change]))
    }
  }

  /** Returns the result of `work`; `undefined` if it fails. */
  async #attempt<T>(
    { errors }: Run,
    changes: readonly PendingChange[],
    work: () => Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      errors.push(error)
      const tokenKeys = changes.slice(0, MAX_LOGGED_KEYS).map(({ key }) => key)
      const fields = { tokenKeys, count: changes.length, reason: String(error) }
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
    // Skips those that another process is completing.
    else count = (await this.#revokeDecided(keys, true)).found.size
    if (count > 0) this.#deps.log.info({ tokenKeys: keys, action: first.action }, 'completed pending changes')
    return count
  }

  async #revoke(keys: readonly TokenKey[]): Promise<readonly TokenKey[]> {
    const { found, revoked } = await this.#revokeDecided(keys, false)
    const known = new Set(revoked)
    // The revocation of the others has been completed by another process.
    const others = keys.filter((key) => !found.has(key) || !known.has(key))
    return others.length === 0
      ? revoked
      : [...new Set([...revoked, ...(await this.#deps.pending.findRevoked(others))])]
  }

  /** Revokes those of `keys` whose revocation is still pending, with their descendants. */
  async #revokeDecided(
    keys: readonly TokenKey[],
    skipLocked: boolean,
  ): Promise<{ readonly found: ReadonlySet<TokenKey>; readonly revoked: readonly TokenKey[] }> {
    const { tokens, database, log } = this.#deps
    await tokens.delete(keys)
    let found = new Set<TokenKey>()
    const done = await database.changeTrees(async (tx) => {
      const pending = await tx.lockRevocations(keys, skipLocked)
      found = new Set(pending.map(({ key }) => key))
      const trees: { readonly keys: readonly TokenKey[]; readonly actor: string }[] = []
      for (const group of groupsOf(pending)) trees.push(await this.#revokeTrees(tx, group))
      return trees
    })
    for (const { keys: revoked, actor } of done) {
      for (const tokenKey of revoked) log.info({ tokenKey, actor }, 'revoked token')
    }
    return { found, revoked: done.flatMap((each) => each.keys) }
  }

  async #revokeTrees(tx: TreeTransaction, pending: readonly PendingChange[]) {
    const named = pending.map(({ key }) => key)
    const origin = pending[0]?.origin ?? { actor: '', ipAddress: null }
    const trees = await lockTrees(tx, await tx.lockAll(named))
    const keys = trees
      .flat()
      .map(({ key }) => key)
      .reverse()
    for (const slice of slicesOf(keys, RECORD_BATCH_SIZE)) {
      await this.#deps.tokens.delete(slice)
      await tx.stay()
    }
    await tx.revoke(keys, origin, this.#deps.clock.nowToSecond())
    await tx.deletePendingChanges(pending)
    return { keys, actor: origin.actor }
  }

  async #edit(key: TokenKey): Promise<void> {
    const { database, pending, updater } = this.#deps
    for (;;) {
      const edit = await pending.findEdit(key)
      if (!edit) return
      const below = await database.changeTrees(async (tx) => {
        const keys: TokenKey[] = []
        for await (const links of tx.listBelow([key])) keys.push(...links.map(({ child }) => child))
        return keys.reverse()
      })
      // The deepest first: meanwhile no child has more than its parent.
      const descendants = below.filter((each) => each !== key)
      await pending.complete(edit, async () => {
        await updater.update(descendants.map((each) => recordUpdate(each, edit, 'narrow')))
        await updater.update([recordUpdate(key, edit, 'row')])
      })
    }
  }
}

/** Returns the update of a record after an edit, of the values that the edit is about. */
const recordUpdate = (
  key: TokenKey,
  { hasScopes, hasExpires }: EditedFacts,
  follow: Follow,
): RecordUpdate => ({
  key,
  scopes: hasScopes ? follow : 'keep',
  expiresAt: hasExpires ? follow : 'keep',
})

/** Groups revocations by their origin; each edit is a group of its own. */
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
