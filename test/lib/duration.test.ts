import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseDuration } from '../../src/lib/duration.ts'

describe('a duration', () => {
  it.each([
    ['2w', 1_209_600],
    ['30d', 2_592_000],
    ['12h', 43_200],
    ['90m', 5_400],
    ['300s', 300],
    ['0s', 0],
    ['1h30m', 5_400],
    ['1w2d3h4m5s', 788_645],
    ['007s', 7],
  ])('%s is %i seconds', (text, seconds) => {
    expect(parseDuration(text)).toBe(seconds)
  })

  it('is the sum of its parts, whatever their order', () => {
    const part = fc
      .tuple(fc.nat(10_000), fc.constantFrom('w', 'd', 'h', 'm', 's'))
      .map(([n, unit]) => `${n}${unit}`)
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), (parts) => {
        const sum = parts.reduce((total, text) => total + (parseDuration(text) ?? Number.NaN), 0)
        expect(parseDuration(parts.join(''))).toBe(sum)
      }),
    )
  })
})

it.each([
  ['nothing', ''],
  ['no unit', '30'],
  ['no amount', 'd'],
  ['an unknown unit', '30y'],
  ['a unit in upper case', '30D'],
  ['a fraction', '1.5h'],
  ['a sign', '-30d'],
  ['a space before', ' 30d'],
  ['a space inside', '1h 30m'],
  ['a line feed behind', '30d\n'],
  ['a number at the end', '1h30'],
  ['an exponent', '1e3s'],
  ['digits of another script', '٣d'],
  ['more seconds than a number counts exactly', '99999999999w'],
])('text with %s is no duration', (_what, text) => {
  expect(parseDuration(text)).toBe(undefined)
})
