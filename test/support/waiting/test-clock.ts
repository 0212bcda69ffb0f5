import { type Clock, floorToSecond } from '../../../src/lib/clock.ts'

/** A clock that stands still until it is told to move. Starts at a whole second. */
export class TestClock implements Clock {
  #now: Date

  constructor(start = new Date(Math.floor(Date.now() / 1000) * 1000)) {
    this.#now = start
  }

  now(): Date {
    return new Date(this.#now)
  }

  nowToSecond(): Date {
    return floorToSecond(this.#now)
  }

  /** Goes on as it does on the machine, whatever `advance` says: as if the machine had been suspended meanwhile. */
  monotonicMs(): number {
    return performance.now()
  }

  /** Moves time on, or back where `seconds` is negative. */
  advance(seconds: number): void {
    this.#now = new Date(this.#now.getTime() + seconds * 1000)
  }
}
