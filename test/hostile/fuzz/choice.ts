import fc from 'fast-check'

/** Where every decision of the generators comes from: seeded, recorded, and made simpler when a request fails. */
export type Choices = fc.GeneratorValue

/** From `min` to `max`; the least is the simplest. */
export const between = (g: Choices, min: number, max: number): number => g(fc.integer, { min, max })

/** One of `items`, of which there must be some; the first is the simplest. */
export const oneOf = <T>(g: Choices, items: readonly T[]): T => items[between(g, 0, items.length - 1)] as T

/** True in so many of a hundred cases; false is the simpler. */
export const chance = (g: Choices, percent: number): boolean => between(g, 0, 99) >= 100 - percent

/** `count` results of `make`, at least `min` and at most `max`. */
export const several = <T>(g: Choices, min: number, max: number, make: () => T): T[] =>
  Array.from({ length: between(g, min, max) }, make)
