import type { Logger } from 'pino'

/** Logs an error that lasts, such as a lost connection, once and not at each retry. */
export class OutageLog {
  readonly #log: Pick<Logger, 'warn'>
  readonly #reported = new Set<string>()

  constructor(log: Pick<Logger, 'warn'>) {
    this.#log = log
  }

  /** Logs `message` with the reason, unless the same was logged since the last recovery. */
  report({ message: reason }: Error, message: string, fields: object = {}): void {
    const line = `${message}\n${reason}`
    if (this.#reported.has(line)) return
    this.#reported.add(line)
    this.#log.warn({ reason, ...fields }, message)
  }

  /** Marks the end of an outage: the next error is logged again. */
  recovered(): void {
    this.#reported.clear()
  }
}
