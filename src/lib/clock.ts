/** The source of "now". Handed in, so that tests move time instead of sleeping through it. */
export interface Clock {
  /** The current moment. */
  now(): Date
  /**
   * Milliseconds since some moment, which only ever grow. They do not count the time that the machine was suspended,
   * and nobody sets them.
   */
  monotonicMs(): number
}

/** The machine's clock: the only place outside tests that asks what time it is. */
export const systemClock: Clock = { now: () => new Date(), monotonicMs: () => performance.now() }

/** `date` in whole seconds since 1970, UTC, rounded down: the resolution of every stored time. */
export const toSeconds = (date: Date): number => Math.floor(date.getTime() / 1000)

/** The moment `seconds` after 1970, UTC. */
export const fromSeconds = (seconds: number): Date => new Date(seconds * 1000)
