export interface ConcurrencyLimits {
  /** Maximum number of running tasks per key. */
  readonly maxRunning: number
  /** Maximum number of waiting tasks per key. */
  readonly maxWaiting: number
}

interface Queue {
  running: number
  readonly waiting: (() => void)[]
}

/** Limits how many tasks of one key run and wait. Tasks of one key start in the order in which they arrive. */
export class ConcurrencyLimit {
  readonly #limits: ConcurrencyLimits
  readonly #queues = new Map<string, Queue>()

  constructor(limits: ConcurrencyLimits) {
    this.#limits = limits
  }

  /** Runs `work` when the limit allows it. Returns `undefined`, and does not run it, if too many tasks are waiting. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> | undefined {
    const queue = this.#queues.get(key) ?? { running: 0, waiting: [] }
    if (queue.waiting.length >= this.#limits.maxWaiting) return undefined
    this.#queues.set(key, queue)
    return this.#enter(key, queue, work)
  }

  async #enter<T>(key: string, queue: Queue, work: () => Promise<T>): Promise<T> {
    // A finished task passes its place to the next one, so that no later task takes it.
    if (queue.running >= this.#limits.maxRunning) {
      await new Promise<void>((resolve) => queue.waiting.push(resolve))
    } else queue.running += 1
    try {
      return await work()
    } finally {
      const next = queue.waiting.shift()
      if (next) next()
      else {
        queue.running -= 1
        if (queue.running === 0) this.#queues.delete(key)
      }
    }
  }
}
