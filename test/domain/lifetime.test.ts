import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addSeconds, earlier, requireExpiry, secondsUntil } from '../../src/domain/lifetime.ts'
import { failure } from '../support/checks/failures.ts'
import { at, NOW } from '../support/tokens/token-data.ts'

describe('the earlier of two expiries', () => {
  it.each([
    ['the first', at(1), at(2), at(1)],
    ['the second', at(2), at(1), at(1)],
    ['either of equal ones', at(1), at(1), at(1)],
    ['the one that is an end', at(1), null, at(1)],
    ['the one that is an end, on either side', null, at(1), at(1)],
    ['none where neither ends', null, null, null],
  ])('is %s', (_what, left, right, expected) => {
    expect(earlier(left, right)).toEqual(expected)
  })
})

describe('the seconds until an expiry', () => {
  it.each([
    ['whole ones', at(300), 300],
    ['rounded down', at(299.999), 299],
    ['negative when it is over, rounded down', at(-0.001), -1],
    ['endless where there is none', null, Number.POSITIVE_INFINITY],
  ])('are %s', (_what, end, seconds) => {
    expect(secondsUntil(end, NOW)).toBe(seconds)
  })

  it('count from the second that has begun', () => {
    expect(secondsUntil(at(300), at(0.999))).toBe(300)
    expect(secondsUntil(at(300), at(1))).toBe(299)
  })

  it('lead back to it', () => {
    fc.assert(
      fc.property(fc.integer({ min: -1e9, max: 1e9 }), (seconds) => {
        expect(secondsUntil(addSeconds(NOW, seconds), NOW)).toBe(seconds)
      }),
    )
  })
})

describe('a requested expiry', () => {
  it.each([
    ['300 s ahead', at(300), at(300)],
    ['a fraction more, which is dropped', at(300.9), at(300)],
    ['years ahead', new Date('2126-01-01T00:00:00Z'), new Date('2126-01-01T00:00:00Z')],
  ])('may be %s', (_what, asked, given) => {
    expect(requireExpiry(asked, NOW)).toEqual(given)
  })

  it.each([
    ['299 s ahead', at(299)],
    ['299 s and a fraction ahead', at(299.999)],
    ['now', NOW],
    ['past', at(-86_400)],
    // Later seconds are taken for milliseconds by whoever reads the record, and the token is dead at once.
    ['beyond what a record can say', new Date('3000-01-01T00:00:00Z')],
    ['no date', new Date(Number.NaN)],
  ])('may not be %s', (_what, asked) => {
    expect(() => requireExpiry(asked, NOW)).toThrow(failure('INVALID_EXPIRES'))
  })

  it('that is too early is answered with the earliest that would do', () => {
    expect(() => requireExpiry(NOW, NOW)).toThrow('2026-01-01T00:05:00.000Z')
  })
})
