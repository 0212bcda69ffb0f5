import type { HttpResult } from './http-load.ts'
import { format, percentile, say } from './support.ts'

/** One value per round, and their statistics. */
export class Rounds {
  readonly values: number[] = []

  get median(): number {
    return percentile(this.values, 0.5)
  }

  /** Returns the median, and the range from minimum to maximum. */
  toString(): string {
    return `${format(this.median)} (${format(Math.min(...this.values))} to ${format(Math.max(...this.values))})`
  }
}

export interface Measured {
  readonly rate: Rounds
  readonly p50: Rounds
  readonly p99: Rounds
}

/** Runs all loads in each round, after a round to warm up, so that other work of the machine affects all of them. */
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
  for (const name of names) say(name, String(results[name].rate), 'per second')
  return results
}

/** Returns a function that returns the values in turn, and repeats them. */
export function inOrder<T>(values: readonly T[]): () => T {
  let count = 0
  return () => {
    const value = values[count++ % values.length]
    if (value === undefined) throw new RangeError('there are no values')
    return value
  }
}

/** Formats a ratio. */
export const ratio = (value: number): string => value.toFixed(2)

/** A measured value and its required bound. */
export interface Budget {
  readonly name: string
  readonly value: number
  readonly min?: number
  readonly max?: number
}

/** Returns a row of a table: the budget, the measured value, and whether the budget is kept. */
export function judge({
  name,
  value,
  min = Number.NEGATIVE_INFINITY,
  max = Number.POSITIVE_INFINITY,
}: Budget): string[] {
  const show = (each: number): string => (each < 100 ? ratio(each) : format(each))
  const bound = Number.isFinite(min) ? `at least ${show(min)}` : `at most ${show(max)}`
  return [name, bound, show(value), value >= min && value <= max ? 'yes' : 'NO']
}
