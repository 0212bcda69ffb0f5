export interface LaneLimits {
  /** Maximum number of running tasks per lane. */
  readonly width: number
  /** Maximum number of waiting tasks per lane. */
  readonly maxWaiting: number
}

interface Lane {
  running: number
  readonly waiting: (() => void)[]
}

/** Runs a limited number of tasks at a time in each of many lanes, in the order in which they arrive. */
export class Lanes {
  readonly #limits: LaneLimits
  readonly #lanes = new Map<string, Lane>()

  constructor(limits: LaneLimits) {
    this.#limits = limits
  }

  /** Runs `work` when a place is free. Returns `undefined`, and does not run it, where too many tasks are waiting. */
  run<T>(name: string, work: () => Promise<T>): Promise<T> | undefined {
    const lane = this.#lanes.get(name) ?? { running: 0, waiting: [] }
    if (lane.waiting.length >= this.#limits.maxWaiting) return undefined
    this.#lanes.set(name, lane)
    return this.#pass(name, lane, work)
  }

  async #pass<T>(name: string, lane: Lane, work: () => Promise<T>): Promise<T> {
    // A finished task passes its place to the next one, so that no later task takes it.
    if (lane.running >= this.#limits.width) await new Promise<void>((resolve) => lane.waiting.push(resolve))
    else lane.running += 1
    try {
      return await work()
    } finally {
      const next = lane.waiting.shift()
      if (next) next()
      else {
        lane.running -= 1
        if (lane.running === 0) this.#lanes.delete(name)
      }
    }
  }
}
