import { systemClock } from '../lib/clock.ts'

/** Signals that request a stop: from Ctrl-C, a service manager, a closed terminal, and Ctrl-\. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const

/**
 * Time after the first signal in which others count as the same request, in milliseconds: a terminal sends Ctrl-C to
 * npm and to Porthor, and npm passes it on.
 */
const SAME_REQUEST_MS = 2_000

/** Time until the process exits after a forced stop was requested, in milliseconds. */
const FORCED_EXIT_MS = 3_000

/** Time between two checks that npm is still running, in milliseconds. */
const PARENT_CHECK_MS = 500

/** Requests to stop that signals make. */
export interface Stop {
  /** Resolves at the first signal. */
  readonly requested: Promise<void>
  /** Aborted by a later signal: whatever is still running must be cut short. The process exits soon after. */
  readonly forced: AbortSignal
}

/** Listens to signals until the process exits: without a listener, a signal would end it immediately. */
export function listenToSignals(): Stop {
  const controller = new AbortController()
  let requestStop: () => void = () => undefined
  const requested = new Promise<void>((resolve) => {
    requestStop = resolve
  })
  let firstAt: number | undefined
  const onSignal = () => {
    const now = systemClock.monotonicMs()
    firstAt ??= now
    requestStop()
    if (now - firstAt < SAME_REQUEST_MS || controller.signal.aborted) return
    controller.abort()
    process.exitCode = 1
    setTimeout(() => process.exit(1), FORCED_EXIT_MS).unref()
  }
  for (const signal of SIGNALS) process.on(signal, onSignal)
  if (process.env.npm_lifecycle_event !== undefined) onParentExit(requestStop)
  return { requested, forced: controller.signal }
}

/** If a signal ends npm and npm does not pass it on, no other program can stop this process. */
function onParentExit(stop: () => void): void {
  const { ppid } = process
  const timer = setInterval(() => {
    if (process.ppid === ppid) return
    clearInterval(timer)
    stop()
  }, PARENT_CHECK_MS)
  timer.unref()
}

/** Exits at the first signal by `process.exit`, so that what this process has started ends with it. */
export function exitOnSignals(): void {
  for (const signal of SIGNALS) process.once(signal, () => process.exit(1))
}
