import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import type { TokenKey } from '../../domain/token.ts'
import { type Clock, floorToSecond } from '../../lib/clock.ts'
import { slicesOf } from '../../lib/slices.ts'
import type { MaintenanceDatabase } from '../../stores/database/maintenance-database.ts'

/** Shortest time between two recorded uses of a token, in milliseconds: users look at the day. */
const RESOLUTION_MS = 60_000

/** Tokens whose last recorded use is cached. A token that is dropped is recorded again, which the database ignores. */
const MAX_CACHED = 100_000

/** Rows that one statement changes. */
const ROW_BATCH_SIZE = 1_000

export interface UsageRecorderDeps {
  readonly database: MaintenanceDatabase
  readonly clock: Clock
  readonly log: Logger
}

/** Records when tokens are used. `note` costs a request almost nothing; `flush` writes to the database. */
export class UsageRecorder {
  readonly #deps: UsageRecorderDeps
  readonly #lastNotedMs = new LRUCache<TokenKey, number>({ max: MAX_CACHED })
  readonly #pending = new Map<TokenKey, Date>()

  constructor(deps: UsageRecorderDeps) {
    this.#deps = deps
  }

  note(key: TokenKey): void {
    const now = this.#deps.clock.now()
    const last = this.#lastNotedMs.get(key)
    if (last !== undefined && now.getTime() - last < RESOLUTION_MS) return
    this.#lastNotedMs.set(key, now.getTime())
    this.#pending.set(key, floorToSecond(now))
  }

  /** Writes the noted uses. If that fails they are dropped: the next use is noted again. */
  async flush(): Promise<void> {
    const uses = [...this.#pending]
    this.#pending.clear()
    try {
      for (const slice of slicesOf(uses, ROW_BATCH_SIZE)) await this.#deps.database.recordUse(slice)
    } catch (error) {
      for (const [key] of uses) this.#lastNotedMs.delete(key)
      this.#deps.log.warn({ err: error, tokens: uses.length }, 'could not record when tokens were last used')
    }
  }
}
