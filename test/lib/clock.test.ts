import { expect, it } from 'vitest'
import { floorToSecond, fromSeconds, systemClock, toSeconds } from '../../src/lib/clock.ts'

it.each([
  ['2026-01-01T00:00:00.000Z', 1_767_225_600],
  ['2026-01-01T00:00:00.999Z', 1_767_225_600],
  ['1970-01-01T00:00:00.000Z', 0],
  ['1969-12-31T23:59:59.500Z', -1],
])('%s is second %i, rounded down', (text, seconds) => {
  expect(toSeconds(new Date(text))).toBe(seconds)
})

it('a second is read back as its first moment', () => {
  expect(fromSeconds(1_767_225_600)).toEqual(new Date('2026-01-01T00:00:00Z'))
})

it.each([
  ['2026-01-01T00:00:00.999Z', '2026-01-01T00:00:00Z'],
  ['1969-12-31T23:59:59.500Z', '1969-12-31T23:59:59Z'],
  ['2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00Z'],
])('%s without its fraction of a second is %s', (text, second) => {
  expect(floorToSecond(new Date(text))).toEqual(new Date(second))
})

it('the clock of the machine returns the current second without its fraction', () => {
  const before = floorToSecond(new Date())
  const second = systemClock.nowToSecond()

  expect(second.getMilliseconds()).toBe(0)
  expect(second.getTime()).toBeGreaterThanOrEqual(before.getTime())
  expect(second.getTime()).toBeLessThanOrEqual(Date.now())
})

it('the clock of the machine returns the current time', () => {
  const before = Date.now()
  const now = systemClock.now().getTime()

  expect(now).toBeGreaterThanOrEqual(before)
  expect(now).toBeLessThanOrEqual(Date.now())
})
