import type { Logger } from 'pino'

/** Tells of a fault that lasts once, and not at each attempt to be rid of it. */
export class FaultLog {
  readonly #log: Pick<Logger, 'warn'>
  readonly #told = new Set<string>()

  constructor(log: Pick<Logger, 'warn'>) {
    this.#log = log
  }

  /** Logs `message`, unless it was told of this fault already, and that has not passed since. */
  tell({ message: fault }: Error, message: string, facts: object = {}): void {
    const words = `${message}\n${fault}`
    if (this.#told.has(words)) return
    this.#told.add(words)
    this.#log.warn({ fault, ...facts }, message)
  }

  /** All is well again: the next fault is a new one. */
  pass(): void {
    this.#told.clear()
  }
}
