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
  /** Tokens removed because their time was over. */
  readonly expired: number
  /** History entries removed because of their age. */
  readonly truncated: number
  /** Tokens revoked because their parent, or that of a token above them, was gone. */
  readonly orphaned: number
  /** Expired entries removed from the token store; Redis does that by itself. */
  readonly swept: number
}

/** Rows that one transaction takes on: it holds no lock for long, and loses little when it is killed. */
const BATCH = 1_000

/** Removes what has had its time. Safe to run anywhere at any time, and to kill. */
export class MaintenanceService {
  readonly #deps: MaintenanceServiceDeps

  constructor(deps: MaintenanceServiceDeps) {
    this.#deps = deps
  }

  /**
   * @param onProgress Is told the number of records done so far.
   * @returns `undefined` where another process is at it already.
   * @throws {ClockSkewError} Nothing was removed.
   * @throws {UnavailableError} What was done until then stays done.
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
      const expired = await inBatches(async () => step(await database.expire(now, BATCH)))
      const truncated = await inBatches(async () => step(await database.truncateHistory(cutoff, BATCH)))
      const swept = step(await tokens.sweep())
      const orphaned = step(await orphans.revokeAll())
      const report = { expired, truncated, orphaned, swept }
      log.info(report, 'upkeep done')
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
    if (count < BATCH) return total
  }
}
