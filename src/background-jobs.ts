import type { Logger } from 'pino'
import { OutageLog } from './lib/outage-log.ts'
import type { Services } from './services/services.ts'

export interface BackgroundJobsDeps {
  readonly services: Pick<Services, 'maintenance' | 'pendingChanges' | 'usage'>
  readonly log: Logger
}

/** Pause between two runs of maintenance, in milliseconds. Of several processes, one runs it at a time. */
const MAINTENANCE_PAUSE_MS = 60 * 60 * 1000

/** Maximum time until maintenance first runs, in milliseconds. It is random: several processes may start at once. */
const MAX_FIRST_MAINTENANCE_MS = 60 * 1000

/** Pause between two writes of the times at which tokens were last used, in milliseconds. */
const USAGE_PAUSE_MS = 10_000

/** Pause between two searches for pending changes, in milliseconds: they complete this soon after an outage. */
const PENDING_PAUSE_MS = 2_000

/** Runs `work` once, after `delayMs`. Returns a function that cancels it. */
export type Later = (work: () => void, delayMs: number) => () => void

const systemLater: Later = (work, delayMs) => {
  const timer = setTimeout(work, delayMs).unref()
  return () => clearTimeout(timer)
}

/** Starts the background jobs. Returns a function that stops them, and waits for those that are running. */
export function startBackgroundJobs(
  { services, log }: BackgroundJobsDeps,
  later = systemLater,
): () => Promise<void> {
  const maintain = async () => {
    await services.maintenance
      .run()
      .catch((error: unknown) => log.warn({ err: error }, 'could not run maintenance'))
  }
  const outageLog = new OutageLog(log)
  const completePending = async () => {
    await services.pendingChanges.completeAll().then(
      () => outageLog.recovered(),
      (error: Error) => outageLog.report(error, 'could not complete pending changes'),
    )
  }
  const stops = [
    repeat(completePending, 0, PENDING_PAUSE_MS, later),
    repeat(maintain, Math.random() * MAX_FIRST_MAINTENANCE_MS, MAINTENANCE_PAUSE_MS, later),
    repeat(() => services.usage.flush(), USAGE_PAUSE_MS, USAGE_PAUSE_MS, later),
  ]
  return async () => {
    await Promise.all(stops.map((stop) => stop()))
  }
}

/** Runs `task` after `firstMs`, and again `pauseMs` after each end. `task` must not reject. */
function repeat(
  task: () => Promise<void>,
  firstMs: number,
  pauseMs: number,
  later: Later,
): () => Promise<void> {
  let running = Promise.resolve()
  let isStopped = false
  const run = () => {
    running = task().then(() => {
      if (!isStopped) cancel = later(run, pauseMs)
    })
  }
  let cancel = later(run, firstMs)
  return async () => {
    isStopped = true
    cancel()
    await running
  }
}
