import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import { RateLimitedLog } from './rate-limited-log.ts'

/** Equal lines per minute: enough to see that a problem lasts. */
const LINES_PER_MINUTE = 6

/** Maximum number of different lines that are counted at a time. */
const MAX_KINDS = 200

/** Logs what may happen to every request during an outage: a limited number of equal lines per minute. */
export class RepeatLimitedLog {
  readonly #log: Logger
  readonly #now: (() => number) | undefined
  readonly #kinds = new LRUCache<string, RateLimitedLog>({ max: MAX_KINDS })

  /** @param now Reads a monotonic clock, in milliseconds. */
  constructor(log: Logger, now?: () => number) {
    this.#log = log
    this.#now = now
  }

  /** Logs a line, unless too many with the same message and `kind` were logged. Numbers in `kind` do not count. */
  warn(kind: string, fields: object, message: string): void {
    const name = `${message}\n${kind.replace(/\d+/g, '#')}`
    const lines = this.#kinds.get(name) ?? new RateLimitedLog(this.#log, LINES_PER_MINUTE, this.#now)
    this.#kinds.set(name, lines)
    lines.warn(fields, message)
  }
}
