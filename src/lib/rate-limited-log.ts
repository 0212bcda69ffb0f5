import type { Logger } from 'pino'
import { systemClock } from './clock.ts'

const MINUTE_MS = 60_000

/** Logs events that any client can cause: at most a number of lines per minute. */
export class RateLimitedLog {
  readonly #log: Logger
  readonly #linesPerMinute: number
  readonly #now: () => number
  #minuteStartedAt = Number.NEGATIVE_INFINITY
  #lines = 0
  #suppressed = 0

  /** @param now Reads a monotonic clock, in milliseconds. */
  constructor(log: Logger, linesPerMinute: number, now: () => number = systemClock.monotonicMs) {
    this.#log = log
    this.#linesPerMinute = linesPerMinute
    this.#now = now
  }

  info(fields: object, message: string): void {
    this.#write('info', fields, message)
  }

  warn(fields: object, message: string): void {
    this.#write('warn', fields, message)
  }

  /** Logs a line. `suppressed` in the first line of a minute is the number of lines that were dropped before it. */
  #write(level: 'info' | 'warn', fields: object, message: string): void {
    const now = this.#now()
    if (now - this.#minuteStartedAt >= MINUTE_MS) {
      this.#minuteStartedAt = now
      this.#lines = 0
    }
    if (this.#lines >= this.#linesPerMinute) {
      this.#suppressed += 1
      return
    }
    this.#lines += 1
    const suppressed = this.#suppressed
    this.#suppressed = 0
    this.#log[level](suppressed > 0 ? { ...fields, suppressed } : fields, message)
  }
}
