/**
 * Runs `work` once per key at a time. Callers that arrive meanwhile share its promise, and so its error. Keeps no result
 * afterwards. Covers this process only: two processes may run `work` at the same time.
 */
export class SingleFlight<T> {
  readonly #pending = new Map<string, Promise<T>>()

  run(key: string, work: () => Promise<T>): Promise<T> {
    const shared = this.#pending.get(key)
    if (shared) return shared
    const started = work().finally(() => this.#pending.delete(key))
    this.#pending.set(key, started)
    return started
  }
}
