export interface TurnsOptions {
  /** Pieces of work of one key that run at a time. */
  readonly max: number
  /** How long one waits for its turn, in milliseconds. */
  readonly maxWaitMs: number
  /** What is thrown where that is not enough. */
  readonly tooLate: () => Error
}

interface Queue {
  running: number
  /** Those who wait, in the order in which they came. */
  readonly waiting: Set<() => void>
}

/**
 * Lets so many pieces of work of one key run at a time; others of that key wait their turn, in order. Work of
 * different keys never waits for each other.
 */
export class Turns {
  readonly #options: TurnsOptions
  readonly #queues = new Map<string, Queue>()

  constructor(options: TurnsOptions) {
    this.#options = options
  }

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(key) ?? { running: 0, waiting: new Set() }
    this.#queues.set(key, queue)
    if (queue.running < this.#options.max) queue.running += 1
    else await this.#turn(queue)
    try {
      return await work()
    } finally {
      const [next] = queue.waiting
      // A turn is passed on rather than given back: whoever comes between must not overtake.
      if (next) next()
      else queue.running -= 1
      if (queue.running === 0) this.#queues.delete(key)
    }
  }

  #turn({ waiting }: Queue): Promise<void> {
    return new Promise((resolve, reject) => {
      const begin = () => {
        clearTimeout(timer)
        waiting.delete(begin)
        resolve()
      }
      const timer = setTimeout(() => {
        waiting.delete(begin)
        reject(this.#options.tooLate())
      }, this.#options.maxWaitMs)
      waiting.add(begin)
    })
  }
}
