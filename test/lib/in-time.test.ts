import { describe, expect, it } from 'vitest'
import { inTime } from '../../src/lib/in-time.ts'

const tooLate = () => new Error('too late')

describe('inTime', () => {
  it('resolves with what comes in time', async () => {
    expect(await inTime(Promise.resolve('here'), 60_000, tooLate)).toBe('here')
  })

  it('waits for ever where there is no limit', async () => {
    const late = new Promise((resolve) => setImmediate(resolve, 'here'))
    expect(await inTime(late, Number.POSITIVE_INFINITY, tooLate)).toBe('here')
  })

  it('rejects with the error of the work', async () => {
    await expect(inTime(Promise.reject(new Error('refused')), 60_000, tooLate)).rejects.toThrow('refused')
  })

  it.each([1, 0, -1])(
    'rejects when %i ms have passed, and nobody misses an error that comes later',
    async (limitMs) => {
      let fail: (error: Error) => void = () => undefined
      const work = new Promise<never>((_resolve, reject) => {
        fail = reject
      })
      await expect(inTime(work, limitMs, tooLate)).rejects.toThrow('too late')
      // An error that nobody handles would fail the test run.
      fail(new Error('later'))
      await new Promise((resolve) => setImmediate(resolve))
    },
  )
})
