import type { HttpResult } from './http-load.ts'
import { format, percentile, say } from './support.ts'

/** A figure of every round, and what they come to. */
export class Rounds {
  readonly values: number[] = []

  get median(): number {
    return percentile(this.values, 0.5)
  }

  /** Median, and from the least to the most. */
  toString(): string {
    return `${format(this.median)} (${format(Math.min(...this.values))} to ${format(Math.max(...this.values))})`
  }
}

export interface Measured {
  readonly rate: Rounds
  readonly p50: Rounds
  readonly p99: Rounds
}

/** Runs each load in turn, round by round after one that warms up, so that whatever else the machine does meets all of them. */
export async function inTurn<Name extends string>(
  rounds: number,
  loads: Readonly<Record<Name, () => Promise<HttpResult>>>,
): Promise<Record<Name, Measured>> {
  const names = Object.keys(loads) as Name[]
  const results = Object.fromEntries(
    names.map((name) => [name, { rate: new Rounds(), p50: new Rounds(), p99: new Rounds() }]),
  ) as Record<Name, Measured>
  for (let round = -1; round < rounds; round += 1) {
    for (const name of names) {
      const { rate, p50, p99 } = await loads[name]()
      if (round < 0) continue
      results[name].rate.values.push(rate)
      results[name].p50.values.push(p50)
      results[name].p99.values.push(p99)
    }
  }
  for (const name of names) say(name, String(results[name].rate), 'a second')
  return results
}

/** One after the other, whichever connection asks, and again from the first. */
export function inOrder<T>(values: readonly T[]): () => T {
  let count = 0
  return () => {
    const value = values[count++ % values.length]
    if (value === undefined) throw new RangeError('there is nothing to take')
    return value
  }
}

/** Ratios as people read them. */
export const ratio = (value: number): string => value.toFixed(2)

/** What is promised of a figure. */
export interface Budget {
  readonly name: string
  readonly value: number
  readonly least?: number
  readonly most?: number
}

/** What a budget is, what was measured, and whether it was kept: a row of a table. */
export function judge({
  name,
  value,
  least = Number.NEGATIVE_INFINITY,
  most = Number.POSITIVE_INFINITY,
}: Budget): string[] {
  const show = (each: number): string => (each < 100 ? ratio(each) : format(each))
  const bound = Number.isFinite(least) ? `at least ${show(least)}` : `at most ${show(most)}`
  return [name, bound, show(value), value >= least && value <= most ? 'yes' : 'NO']
}
