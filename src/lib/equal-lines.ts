import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import { RateLimitedLog } from './rate-limited-log.ts'

/** Lines that say the same, in a minute: enough to see that it goes on. */
const LINES_PER_MINUTE = 6

/** Different things to say that are told apart at a time. */
const MAX_KINDS = 200

/** Logs what may happen to every request while something lasts: a bounded number of equal lines a minute. */
export class EqualLines {
  readonly #log: Logger
  readonly #now: (() => number) | undefined
  readonly #kinds = new LRUCache<string, RateLimitedLog>({ max: MAX_KINDS })

  /** @param now In milliseconds, by a clock that is never set back. */
  constructor(log: Logger, now?: () => number) {
    this.#log = log
    this.#now = now
  }

  /** Logs a line that says the same as others of this `kind`, numbers aside. */
  warn(kind: string, fields: object, message: string): void {
    const name = `${message}\n${kind.replace(/\d+/g, '#')}`
    const lines = this.#kinds.get(name) ?? new RateLimitedLog(this.#log, LINES_PER_MINUTE, this.#now)
    this.#kinds.set(name, lines)
    lines.warn(fields, message)
  }
}
