export interface RecentCheckDeps {
  readonly check: () => Promise<void>
  /** For how long an outcome stands, in milliseconds. */
  readonly maxAgeMs: number
  /** In milliseconds, by a clock that is never set back. */
  readonly now?: () => number
}

/** A check that anybody may ask for as often as they like: it is made once at a time, and its outcome stands a while. */
export class RecentCheck {
  readonly #deps: RecentCheckDeps
  #underWay: Promise<void> | undefined
  #last: { readonly at: number; readonly outcome: Promise<void> } | undefined

  constructor(deps: RecentCheckDeps) {
    this.#deps = deps
  }

  /** Resolves or rejects as the check did. */
  run(): Promise<void> {
    const now = this.#deps.now ?? (() => performance.now())
    if (this.#underWay) return this.#underWay
    if (this.#last && now() - this.#last.at < this.#deps.maxAgeMs) return this.#last.outcome
    const outcome = this.#deps.check().finally(() => {
      this.#underWay = undefined
      this.#last = { at: now(), outcome }
    })
    this.#underWay = outcome
    return outcome
  }
}
