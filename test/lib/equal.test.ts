import fc from 'fast-check'
import { expect, it } from 'vitest'
import { equalInConstantTime } from '../../src/lib/equal.ts'

it('strings are equal exactly when they are the same, whatever their lengths', () => {
  const pair = fc.oneof(
    fc.tuple(fc.string(), fc.string()),
    fc.string().map((text) => [text, text] as const),
  )
  fc.assert(
    fc.property(pair, ([left, right]) => {
      expect(equalInConstantTime(left, right)).toBe(left === right)
    }),
  )
})

it.each([
  ['differ in the last character', 'abcdef', 'abcdeg'],
  ['begin with the other', 'abcdef', 'abcde'],
  ['differ in case', 'abc', 'ABC'],
  ['differ by an empty one', '', 'a'],
])('strings that %s are not equal', (_what, left, right) => {
  expect(equalInConstantTime(left, right)).toBe(false)
})
