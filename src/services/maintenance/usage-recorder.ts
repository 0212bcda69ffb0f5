import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import type { TokenKey } from '../../domain/token.ts'
import { type Clock, floorToSecond } from '../../lib/clock.ts'
import { slicesOf } from '../../lib/slices.ts'
import type { MaintenanceDatabase } from '../../stores/database/maintenance-database.ts'

/** A token's last use is noted at most this often, in milliseconds: people look at it by the day. */
const RESOLUTION_MS = 60_000

/** Tokens whose last note is remembered. One that falls out is noted again, which the database ignores. */
const MAX_REMEMBERED = 100_000

/** Rows that one statement takes on. */
const BATCH = 1_000

export interface UsageRecorderDeps {
  readonly database: MaintenanceDatabase
  readonly clock: Clock
  readonly log: Logger
}

/** Notes when tokens act. `note` costs a request next to nothing; `flush` writes what was noted. */
export class UsageRecorder {
  readonly #deps: UsageRecorderDeps
  readonly #notedAt = new LRUCache<TokenKey, number>({ max: MAX_REMEMBERED })
  readonly #pending = new Map<TokenKey, Date>()

  constructor(deps: UsageRecorderDeps) {
    this.#deps = deps
  }

  note(key: TokenKey): void {
    const now = this.#deps.clock.now()
    const last = this.#notedAt.get(key)
    if (last !== undefined && now.getTime() - last < RESOLUTION_MS) return
    this.#notedAt.set(key, now.getTime())
    this.#pending.set(key, floorToSecond(now))
  }

  /** Writes what was noted. What could not be written is dropped: the next use notes it again. */
  async flush(): Promise<void> {
    const uses = [...this.#pending]
    this.#pending.clear()
    try {
      for (const slice of slicesOf(uses, BATCH)) await this.#deps.database.recordUse(slice)
    } catch (error) {
      for (const [key] of uses) this.#notedAt.delete(key)
      this.#deps.log.warn({ err: error, tokens: uses.length }, 'could not note when tokens were last used')
    }
  }
}
