import { systemClock } from './clock.ts'

export interface RecentCheckDeps<T> {
  readonly check: () => Promise<T>
  /** Time for which an outcome is reused, in milliseconds. */
  readonly maxAgeMs: number
  /** Reads a monotonic clock, in milliseconds. */
  readonly now?: () => number
}

/** A check that any client may request: it runs once at a time, and its outcome is reused for a while. */
export class RecentCheck<T> {
  readonly #deps: RecentCheckDeps<T>
  #running: Promise<T> | undefined
  #last: { readonly at: number; readonly outcome: Promise<T> } | undefined

  constructor(deps: RecentCheckDeps<T>) {
    this.#deps = deps
  }

  /** Resolves or rejects as the last check did. */
  run(): Promise<T> {
    const now = this.#deps.now ?? systemClock.monotonicMs
    if (this.#running) return this.#running
    if (this.#last && now() - this.#last.at < this.#deps.maxAgeMs) return this.#last.outcome
    const outcome = this.#deps.check().finally(() => {
      this.#running = undefined
      this.#last = { at: now(), outcome }
    })
    this.#running = outcome
    return outcome
  }
}
