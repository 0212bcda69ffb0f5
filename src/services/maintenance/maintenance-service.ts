import type { Logger } from 'pino'
import { addSeconds } from '../../domain/lifetime.ts'
import type { Clock } from '../../lib/clock.ts'
import type { MaintenanceDatabase } from '../../stores/database/maintenance-database.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import type { ClockCheck } from './clock-check.ts'
import type { OrphanService } from './orphan-service.ts'

export interface MaintenanceServiceDeps {
  readonly database: MaintenanceDatabase
  readonly tokens: TokenStore
  readonly orphans: OrphanService
  readonly clocks: ClockCheck
  readonly clock: Clock
  readonly log: Logger
  /** Age at which history is deleted, in seconds. */
  readonly historyRetention: number
}

export interface MaintenanceReport {
  /** Number of deleted rows of expired tokens. */
  readonly expired: number
  /** Number of history events deleted because of their age. */
  readonly truncated: number
  /** Number of revoked tokens whose parent, or the parent of an ancestor, was missing. */
  readonly orphaned: number
  /** Number of expired records deleted from the token store; Redis deletes them by itself. */
  readonly swept: number
}

/** Rows that one transaction deletes: it holds no lock for long, and loses little when it is killed. */
const ROW_BATCH_SIZE = 1_000

/** Deletes what has expired, and revokes orphans. Safe to run in any process at any time, and to kill. */
export class MaintenanceService {
  readonly #deps: MaintenanceServiceDeps

  constructor(deps: MaintenanceServiceDeps) {
    this.#deps = deps
  }

  /**
   * @param onProgress Called with the number of rows and records that are deleted so far.
   * @returns `undefined` if another process is running maintenance.
   * @throws {ClockSkewError} Nothing was deleted.
   * @throws {UnavailableError} What was deleted before stays deleted.
   */
  async run(onProgress: (done: number) => void = () => undefined): Promise<MaintenanceReport | undefined> {
    const { database, tokens, orphans, clocks, log } = this.#deps
    return database.alone(async () => {
      await clocks.requireAgreement()
      const now = this.#deps.clock.nowToSecond()
      const cutoff = addSeconds(now, -this.#deps.historyRetention)
      let done = 0
      const step = (count: number): number => {
        done += count
        onProgress(done)
        return count
      }
      const expired = await inBatches(async () => step(await database.expire(now, ROW_BATCH_SIZE)))
      const truncated = await inBatches(async () =>
        step(await database.truncateHistory(cutoff, ROW_BATCH_SIZE)),
      )
      const swept = step(await tokens.sweep())
      const orphaned = step(await orphans.revokeAll())
      const report = { expired, truncated, orphaned, swept }
      log.info(report, 'ran maintenance')
      return report
    })
  }
}

/** Repeats until a batch is not full. */
async function inBatches(batch: () => Promise<number>): Promise<number> {
  let total = 0
  for (;;) {
    const count = await batch()
    total += count
    if (count < ROW_BATCH_SIZE) return total
  }
}
