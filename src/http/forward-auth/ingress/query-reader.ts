import { type Problem, queryProblem } from './problem.ts'

const TRUE: ReadonlySet<string> = new Set(['1', 'on', 't', 'true', 'y', 'yes'])
const FALSE: ReadonlySet<string> = new Set(['0', 'off', 'f', 'false', 'n', 'no'])

/** What Python's `float` accepts beside names of values that are not finite. */
const NUMBER = /^[+-]?(?:\d+(?:_\d+)*(?:\.(?:\d+(?:_\d+)*)?)?|\.\d+(?:_\d+)*)(?:e[+-]?\d+(?:_\d+)*)?$/i
const NOT_FINITE = /^[+-]?(?:inf|infinity|nan)$/i

/** Reads parameters of a query as pydantic reads them, and collects what is wrong with them. */
export class QueryReader {
  readonly problems: Problem[] = []
  readonly #parameters: URLSearchParams

  constructor(parameters: URLSearchParams) {
    this.#parameters = parameters
  }

  /** Returns the last value of a parameter. */
  text(name: string): string | undefined {
    return this.#parameters.getAll(name).at(-1)
  }

  /** Returns the last value of a parameter; `undefined` also where it is empty. */
  nonEmptyText(name: string): string | undefined {
    return this.text(name) || undefined
  }

  /** Returns all values of a parameter. */
  list(name: string): readonly string[] {
    return this.#parameters.getAll(name)
  }

  boolean(name: string, fallback: boolean): boolean {
    const text = this.text(name)?.toLowerCase()
    if (text === undefined) return fallback
    if (TRUE.has(text)) return true
    if (!FALSE.has(text)) {
      this.#add(name, 'bool_parsing', 'Input should be a valid boolean, unable to interpret input')
    }
    return false
  }

  choice<T extends string>(name: string, choices: readonly [T, T], fallback: T): T {
    const text = this.text(name)
    if (text === undefined) return fallback
    const chosen = choices.find((choice) => choice === text)
    if (chosen !== undefined) return chosen
    this.#add(name, 'enum', `Input should be '${choices[0]}' or '${choices[1]}'`)
    return fallback
  }

  /** Reads a number of seconds, which may have a fraction. */
  seconds(name: string, { minimum }: { readonly minimum: number }): number | undefined {
    const text = this.text(name)?.trim()
    if (text === undefined) return undefined
    const value = NUMBER.test(text) ? Number(text.replaceAll('_', '')) : Number.NaN
    if (Number.isFinite(value)) {
      if (value >= minimum) return value
      this.#add(name, 'greater_than_equal', `Input should be greater than or equal to ${minimum} seconds`)
    } else if (NUMBER.test(text) || NOT_FINITE.test(text)) {
      this.#add(name, 'time_delta_parsing', 'Input should be a finite number of seconds')
    } else {
      this.#add(name, 'value_error', 'Value error, could not convert string to float')
    }
    return undefined
  }

  #add(name: string, type: string, msg: string): void {
    this.problems.push(queryProblem(name, type, msg))
  }
}
