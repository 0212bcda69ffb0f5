import type { ProcessContext } from '../context.ts'
import { FaultLog } from '../lib/fault-log.ts'

/** Upkeep pauses this long between two runs, in milliseconds. Of many processes, one does it at a time. */
const UPKEEP_PAUSE_MS = 60 * 60 * 1000

/** The first upkeep begins within this time, in milliseconds: at random, as many processes may start at once. */
const FIRST_UPKEEP_MS = 60 * 1000

/** How often it is written when tokens were last used, in milliseconds. */
const USAGE_PAUSE_MS = 10_000

/** How often changes are looked for that are decided and not completed, in milliseconds; so soon after a store is back. */
const FINISH_PAUSE_MS = 2_000

/** Does `work` once, after `delayMs`. Answers with a way to call it off. */
export type Later = (work: () => void, delayMs: number) => () => void

const systemLater: Later = (work, delayMs) => {
  const timer = setTimeout(work, delayMs).unref()
  return () => clearTimeout(timer)
}

/** Does in the background what no request should wait for. Answers with a way to stop, once nothing is under way. */
export function startUpkeep({ services, log }: ProcessContext, later = systemLater): () => Promise<void> {
  const upkeep = async () => {
    await services.upkeep.run().catch((error: unknown) => log.warn({ err: error }, 'upkeep did not finish'))
  }
  const faults = new FaultLog(log)
  const finish = async () => {
    await services.finisher.run().then(
      () => faults.pass(),
      (error: Error) => faults.tell(error, 'could not complete pending changes'),
    )
  }
  const stops = [
    repeat(finish, 0, FINISH_PAUSE_MS, later),
    repeat(upkeep, Math.random() * FIRST_UPKEEP_MS, UPKEEP_PAUSE_MS, later),
    repeat(() => services.usage.flush(), USAGE_PAUSE_MS, USAGE_PAUSE_MS, later),
  ]
  return async () => {
    await Promise.all(stops.map((stop) => stop()))
  }
}

/** Runs `task` after `firstMs`, and again whenever `pauseMs` have passed since it ended. It must not throw. */
function repeat(
  task: () => Promise<void>,
  firstMs: number,
  pauseMs: number,
  later: Later,
): () => Promise<void> {
  let underWay = Promise.resolve()
  let isStopped = false
  const run = () => {
    underWay = task().then(() => {
      if (!isStopped) callOff = later(run, pauseMs)
    })
  }
  let callOff = later(run, firstMs)
  return async () => {
    isStopped = true
    callOff()
    await underWay
  }
}
