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
  /** How many parents to remember. */
  readonly size: number
}

/** Between a change of a parent and the first look at it, in milliseconds; each further look waits twice as long. */
const TICK_MS = 1_000

/** Looks at a parent whose record is gone and whose row is not: whoever deletes it may take a while. */
const MAX_LOOKS = 6

/** A parent that is to be looked at. */
interface Due {
  /** Looks so far, since its record was last seen to change. */
  readonly looks: number
  ticksLeft: number
}

/**
 * Remembers from which tokens this process has delegated, and looks at them when their records change: where record and
 * row are gone, what was delegated from the token has to end. What it misses, maintenance finds.
 */
export class OrphanDetector {
  readonly #deps: OrphanDetectorDeps
  readonly #parents: LRUCache<TokenKey, true>
  readonly #due = new Map<TokenKey, Due>()
  #timer: NodeJS.Timeout | undefined
  #underWay = Promise.resolve()
  #isClosed = false

  constructor(deps: OrphanDetectorDeps) {
    this.#deps = deps
    this.#parents = new LRUCache({ max: deps.size })
  }

  /** A token is about to be delegated from. */
  note(parent: TokenKey): void {
    if (!this.#parents.get(parent)) this.#parents.set(structuredClone(parent), true)
  }

  /** The records of these tokens have changed; with `null`, those of any. */
  onChange(keys: readonly TokenKey[] | null): void {
    for (const key of keys ?? [...this.#parents.keys()]) if (this.#parents.has(key)) this.#schedule(key, 0)
  }

  /** Resolves when nothing is under way any more. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#underWay
  }

  #schedule(key: TokenKey, looks: number): void {
    if (this.#isClosed || looks >= MAX_LOOKS) return
    this.#due.set(key, { looks, ticksLeft: 2 ** looks })
    this.#timer ??= setTimeout(() => this.#tick(), TICK_MS).unref()
  }

  #tick(): void {
    this.#timer = undefined
    const due: (readonly [TokenKey, number])[] = []
    for (const [key, each] of this.#due) {
      each.ticksLeft -= 1
      if (each.ticksLeft > 0) continue
      this.#due.delete(key)
      due.push([key, each.looks])
    }
    if (this.#due.size > 0) this.#timer = setTimeout(() => this.#tick(), TICK_MS).unref()
    if (due.length === 0) return
    this.#underWay = Promise.all([this.#underWay, this.#lookOrRetry(due)]).then(() => undefined)
  }

  async #lookOrRetry(due: readonly (readonly [TokenKey, number])[]): Promise<void> {
    await this.#look(due).catch((error: unknown) => {
      this.#deps.log.warn({ err: error }, 'could not look for tokens whose parent is gone')
      for (const [key, looks] of due) this.#schedule(key, looks + 1)
    })
  }

  async #look(due: readonly (readonly [TokenKey, number])[]): Promise<void> {
    const records = await this.#deps.tokens.inspect(due.map(([key]) => key))
    const without = due.filter(([key]) => !records.has(key))
    if (without.length === 0) return
    const rows = await this.#deps.database.findRows(without.map(([key]) => key))
    for (const [key, looks] of without) if (rows.has(key)) this.#schedule(key, looks + 1)
    const gone = without.map(([key]) => key).filter((key) => !rows.has(key))
    if (gone.length === 0) return
    await this.#deps.orphans.revokeChildrenOf(gone)
    for (const key of gone) this.#parents.delete(key)
  }
}
