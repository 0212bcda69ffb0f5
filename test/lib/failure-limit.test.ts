import { beforeEach, describe, expect, it } from 'vitest'
import { FailureLimit } from '../../src/lib/failure-limit.ts'

describe('of the failures of one source', () => {
  let now = 0
  const open = (perMinute: number, maxSources = 100) =>
    new FailureLimit({ perMinute, maxSources, now: () => now })
  const fail = (limit: FailureLimit, address: string, times: number) => {
    for (let time = 0; time < times; time += 1) limit.note(address)
  }
  beforeEach(() => {
    now = 1_000_000
  })

  it('as many are allowed as the limit says, and no others are affected', () => {
    const limit = open(6)
    fail(limit, '192.0.2.1', 5)
    expect(limit.isOver('192.0.2.1')).toBe(false)
    limit.note('192.0.2.1')
    expect(limit.isOver('192.0.2.1')).toBe(true)
    expect(limit.isOver('192.0.2.2')).toBe(false)
  })

  it('another is allowed after its share of a minute, and all after a minute', () => {
    const limit = open(6)
    fail(limit, '192.0.2.1', 100)
    expect(limit.retryAfterSeconds('192.0.2.1')).toBe(10)
    now += 9_999
    expect(limit.isOver('192.0.2.1')).toBe(true)
    now += 1
    expect(limit.isOver('192.0.2.1')).toBe(false)
    limit.note('192.0.2.1')
    expect(limit.isOver('192.0.2.1')).toBe(true)
    now += 60_000
    fail(limit, '192.0.2.1', 5)
    expect(limit.isOver('192.0.2.1')).toBe(false)
  })

  it('the failure that reaches the limit is recognised', () => {
    const limit = open(3)
    expect([1, 2, 3, 4].map(() => limit.note('192.0.2.1'))).toEqual([false, false, true, false])
  })

  it('those of a /64 network of IPv6 are counted together', () => {
    const limit = open(2)
    limit.note('2001:db8:0:1::1')
    limit.note('2001:db8::1:ffff:0:0:2')
    expect(limit.isOver('2001:db8:0:1:1:2:3:4')).toBe(true)
    expect(limit.isOver('2001:db8:0:2::1')).toBe(false)
  })

  it('any number is allowed where the limit is 0', () => {
    const limit = open(0)
    fail(limit, '192.0.2.1', 1_000)
    expect(limit.isOver('192.0.2.1')).toBe(false)
  })

  it('a clock that goes back takes nothing away', () => {
    const limit = open(6)
    fail(limit, '192.0.2.1', 3)
    now -= 3_600_000
    expect(limit.isOver('192.0.2.1')).toBe(false)
    fail(limit, '192.0.2.1', 3)
    expect(limit.isOver('192.0.2.1')).toBe(true)
  })

  it('those of the sources that failed last are remembered, and no more than may be', () => {
    const limit = open(1, 10)
    for (let source = 0; source < 1_000; source += 1) limit.note(`192.0.${source >> 8}.${source & 255}`)
    expect(limit.isOver('192.0.0.0')).toBe(false)
    expect(limit.isOver('192.0.3.231')).toBe(true)
  })
})
