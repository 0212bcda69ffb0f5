import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import type { TokenKey } from '../../domain/token.ts'
import type { OrphanDatabase } from '../../stores/database/orphan-database.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import type { OrphanService } from './orphan-service.ts'

export interface OrphanDetectorDeps {
  readonly orphans: Pick<OrphanService, 'revokeChildrenOf'>
  readonly database: Pick<OrphanDatabase, 'findRows'>
  readonly tokens: Pick<TokenStore, 'inspect'>
  readonly log: Logger
  /** Maximum number of watched parents. */
  readonly size: number
}

/** Time from a change of a parent's record to the first check, in milliseconds; each further check waits twice as long. */
const TICK_MS = 1_000

/** Maximum number of checks of a parent without a record, but with a row: another program may be deleting it. */
const MAX_CHECKS = 6

/** A parent that is to be checked. */
interface Due {
  /** Number of checks since its record last changed. */
  readonly checks: number
  ticksLeft: number
}

/**
 * Watches the tokens from which this process has delegated, and checks them when their records change: if record and row
 * are deleted, the children of the token must be revoked. Maintenance finds the orphans that this misses.
 */
export class OrphanDetector {
  readonly #deps: OrphanDetectorDeps
  readonly #parents: LRUCache<TokenKey, true>
  readonly #due = new Map<TokenKey, Due>()
  #timer: NodeJS.Timeout | undefined
  #running = Promise.resolve()
  #isClosed = false

  constructor(deps: OrphanDetectorDeps) {
    this.#deps = deps
    this.#parents = new LRUCache({ max: deps.size })
  }

  /** Watches a token from which a child is about to be issued. */
  watch(parent: TokenKey): void {
    if (!this.#parents.get(parent)) this.#parents.set(structuredClone(parent), true)
  }

  /** Must be called when the records of `keys` have changed; with `null`, when any may have changed. */
  onChange(keys: readonly TokenKey[] | null): void {
    for (const key of keys ?? [...this.#parents.keys()]) if (this.#parents.has(key)) this.#schedule(key, 0)
  }

  /** Stops, and resolves when the running checks are complete. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#running
  }

  #schedule(key: TokenKey, checks: number): void {
    if (this.#isClosed || checks >= MAX_CHECKS) return
    this.#due.set(key, { checks, ticksLeft: 2 ** checks })
    this.#timer ??= setTimeout(() => this.#tick(), TICK_MS).unref()
  }

  #tick(): void {
    this.#timer = undefined
    const due: (readonly [TokenKey, number])[] = []
    for (const [key, each] of this.#due) {
      each.ticksLeft -= 1
      if (each.ticksLeft > 0) continue
      this.#due.delete(key)
      due.push([key, each.checks])
    }
    if (this.#due.size > 0) this.#timer = setTimeout(() => this.#tick(), TICK_MS).unref()
    if (due.length === 0) return
    this.#running = Promise.all([this.#running, this.#checkOrRetry(due)]).then(() => undefined)
  }

  async #checkOrRetry(due: readonly (readonly [TokenKey, number])[]): Promise<void> {
    await this.#check(due).catch((error: unknown) => {
      this.#deps.log.warn({ err: error }, 'could not check for tokens whose parent is missing')
      for (const [key, checks] of due) this.#schedule(key, checks + 1)
    })
  }

  async #check(due: readonly (readonly [TokenKey, number])[]): Promise<void> {
    const records = await this.#deps.tokens.inspect(due.map(([key]) => key))
    const without = due.filter(([key]) => !records.has(key))
    if (without.length === 0) return
    const rows = await this.#deps.database.findRows(without.map(([key]) => key))
    for (const [key, checks] of without) if (rows.has(key)) this.#schedule(key, checks + 1)
    const deleted = without.map(([key]) => key).filter((key) => !rows.has(key))
    if (deleted.length === 0) return
    await this.#deps.orphans.revokeChildrenOf(deleted)
    for (const key of deleted) this.#parents.delete(key)
  }
}
