import type { Logger } from 'pino'
import { systemClock } from './clock.ts'

const MINUTE_MS = 60_000

/** Logs what strangers can cause: a bounded number of lines a minute, however often it happens. */
export class RateLimitedLog {
  readonly #log: Logger
  readonly #linesPerMinute: number
  readonly #now: () => number
  #minuteBeganAt = Number.NEGATIVE_INFINITY
  #lines = 0
  #suppressed = 0

  /** @param now In milliseconds, by a clock that is never set back. */
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

  /** The first line of a minute says how many were left out before it. */
  #write(level: 'info' | 'warn', fields: object, message: string): void {
    const now = this.#now()
    if (now - this.#minuteBeganAt >= MINUTE_MS) {
      this.#minuteBeganAt = now
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
