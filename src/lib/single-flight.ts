/**
 * Runs `work` once per key at a time; callers that arrive meanwhile share its promise, error included.
 * Keeps no result afterwards, and callers of different keys never wait for each other. Covers this
 * process only: two processes may both run.
 */
export class SingleFlight<T> {
  readonly #pending = new Map<string, Promise<T>>()

  run(key: string, work: () => Promise<T>): Promise<T> {
    const shared = this.#pending.get(key)
    if (shared) return shared
    const mine = work().finally(() => this.#pending.delete(key))
    this.#pending.set(key, mine)
    return mine
  }
}
