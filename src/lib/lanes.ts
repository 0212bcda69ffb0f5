export interface LaneLimits {
  /** How much may be under way in one lane. */
  readonly width: number
  /** How much may wait in one lane. */
  readonly maxWaiting: number
}

interface Lane {
  underWay: number
  readonly waiting: (() => void)[]
}

/** Lets a few through at a time in each of many lanes, in the order in which they came. */
export class Lanes {
  readonly #limits: LaneLimits
  readonly #lanes = new Map<string, Lane>()

  constructor(limits: LaneLimits) {
    this.#limits = limits
  }

  /** Does `work` when its turn has come; `undefined`, and nothing is done, where too much waits already. */
  run<T>(name: string, work: () => Promise<T>): Promise<T> | undefined {
    const lane = this.#lanes.get(name) ?? { underWay: 0, waiting: [] }
    if (lane.waiting.length >= this.#limits.maxWaiting) return undefined
    this.#lanes.set(name, lane)
    return this.#pass(name, lane, work)
  }

  async #pass<T>(name: string, lane: Lane, work: () => Promise<T>): Promise<T> {
    // Whoever leaves hands over its place, so that nobody who comes meanwhile takes it.
    if (lane.underWay >= this.#limits.width) await new Promise<void>((resolve) => lane.waiting.push(resolve))
    else lane.underWay += 1
    try {
      return await work()
    } finally {
      const next = lane.waiting.shift()
      if (next) next()
      else {
        lane.underWay -= 1
        if (lane.underWay === 0) this.#lanes.delete(name)
      }
    }
  }
}
