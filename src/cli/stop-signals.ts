/** What asks a program to stop: Ctrl-C, a service manager, a terminal that is closed, Ctrl-\. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const

/**
 * For how long after the first signal others mean the same, in milliseconds: a terminal sends Ctrl-C to npm and to
 * Porthor, and npm passes it on.
 */
const SAME_REQUEST_MS = 2_000

/** How long closing may take that is forced, in milliseconds. */
const FORCED_EXIT_MS = 3_000

/** How often it is looked whether npm is still there, in milliseconds. */
const PARENT_CHECK_MS = 500

/** What a server is asked by signals. */
export interface Stop {
  /** Resolves at the first signal. */
  readonly requested: Promise<void>
  /** Is aborted by a later one: whatever still takes its time is to be cut short. The process ends soon after. */
  readonly forced: AbortSignal
}

/** Listens to signals from now on, until the process ends: without a listener the next would end it as it is. */
export function listenToSignals(): Stop {
  const controller = new AbortController()
  let request: () => void = () => undefined
  const requested = new Promise<void>((resolve) => {
    request = resolve
  })
  let firstAt: number | undefined
  const onSignal = () => {
    firstAt ??= performance.now()
    request()
    if (performance.now() - firstAt < SAME_REQUEST_MS || controller.signal.aborted) return
    controller.abort()
    process.exitCode = 1
    setTimeout(() => process.exit(1), FORCED_EXIT_MS).unref()
  }
  for (const signal of SIGNALS) process.on(signal, onSignal)
  if (process.env.npm_lifecycle_event !== undefined) whenParentEnds(request)
  return { requested, forced: controller.signal }
}

/** npm that is ended by a signal which it does not pass on leaves nobody behind who could stop us. */
function whenParentEnds(request: () => void): void {
  const { ppid } = process
  const timer = setInterval(() => {
    if (process.ppid === ppid) return
    clearInterval(timer)
    request()
  }, PARENT_CHECK_MS)
  timer.unref()
}

/** Ends the process at the first signal as `process.exit` does, so that what it has started ends with it. */
export function exitOnSignals(): void {
  for (const signal of SIGNALS) process.once(signal, () => process.exit(1))
}
