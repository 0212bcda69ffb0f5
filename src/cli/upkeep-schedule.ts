import type { ProcessContext } from '../context.ts'

/** Upkeep runs this often, in milliseconds. Of many processes, one does it. */
const UPKEEP_INTERVAL_MS = 60 * 60 * 1000

/** How often it is written when tokens were last used, in milliseconds. */
const USAGE_INTERVAL_MS = 10_000

/** Does in the background what no request should wait for. Answers with a way to stop, once nothing is under way. */
export function startUpkeep({ services, log }: ProcessContext): () => Promise<void> {
  const stops = [
    repeat(UPKEEP_INTERVAL_MS, async () => {
      await services.upkeep.run().catch((error: unknown) => log.warn({ err: error }, 'upkeep did not finish'))
    }),
    repeat(USAGE_INTERVAL_MS, () => services.usage.flush()),
  ]
  return async () => {
    await Promise.all(stops.map((stop) => stop()))
  }
}

/** Runs `task` again and again, with a pause in between. It must not throw. */
function repeat(pauseMs: number, task: () => Promise<void>): () => Promise<void> {
  let underWay = Promise.resolve()
  const timer = setInterval(() => {
    underWay = underWay.then(task)
  }, pauseMs).unref()
  return async () => {
    clearInterval(timer)
    await underWay
  }
}
