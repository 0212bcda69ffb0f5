/** The source of time. It is a dependency, so that tests can move time instead of sleeping. */
export interface Clock {
  now(): Date
  /** Returns the time without its fraction of a second: the resolution of every stored time. */
  nowToSecond(): Date
  /** Milliseconds since a fixed time. They never decrease, and do not count the time in which the machine was suspended. */
  monotonicMs(): number
}

/** The clock of the machine. No other code reads the time. */
export const systemClock: Clock = {
  now: () => new Date(),
  nowToSecond: () => floorToSecond(new Date()),
  monotonicMs: () => performance.now(),
}

/** Returns whole seconds since 1970, UTC, rounded down. */
export const toSeconds = (date: Date): number => Math.floor(date.getTime() / 1000)

/** Returns the time `seconds` after 1970, UTC. */
export const fromSeconds = (seconds: number): Date => new Date(seconds * 1000)

/** Returns `date` without its fraction of a second. */
export const floorToSecond = (date: Date): Date => fromSeconds(toSeconds(date))
