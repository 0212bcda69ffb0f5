export interface KeyedSemaphoreOptions {
  /** Maximum number of running tasks per key. */
  readonly maxRunning: number
  /** Returns the error for a task that has waited for that time. */
  readonly createTimeoutError: () => Error
}

interface Queue {
  running: number
  /** Functions that start the waiting tasks, in the order of their arrival. */
  readonly waiting: Set<() => void>
}

/**
 * Limits how many tasks of one key run at a time, and how long others wait. Tasks of one key start in the order in which
 * they arrive; tasks of different keys never wait for each other.
 */
export class KeyedSemaphore {
  readonly #options: KeyedSemaphoreOptions
  readonly #queues = new Map<string, Queue>()

  constructor(options: KeyedSemaphoreOptions) {
    this.#options = options
  }

  /**
   * Runs `work` when the limit allows it. Rejects, and does not run it, after the maximum wait.
   *
   * @param maxWaitMs Maximum wait, in milliseconds.
   */
  async run<T>(key: string, maxWaitMs: number, work: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(key) ?? { running: 0, waiting: new Set() }
    this.#queues.set(key, queue)
    if (queue.running < this.#options.maxRunning) queue.running += 1
    else await this.#wait(queue, maxWaitMs)
    try {
      return await work()
    } finally {
      const [next] = queue.waiting
      // A finished task passes its place to the next one, so that no later task takes it.
      if (next) next()
      else queue.running -= 1
      if (queue.running === 0) this.#queues.delete(key)
    }
  }

  #wait({ waiting }: Queue, maxWaitMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const start = () => {
        clearTimeout(timer)
        waiting.delete(start)
        resolve()
      }
      const timer = setTimeout(
        () => {
          waiting.delete(start)
          reject(this.#options.createTimeoutError())
        },
        Math.max(0, maxWaitMs),
      )
      waiting.add(start)
    })
  }
}
