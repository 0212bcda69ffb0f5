import { describe, expect, it } from 'vitest'
import { withTimeout } from '../../src/lib/with-timeout.ts'

const tooLate = () => new Error('too late')

describe('withTimeout', () => {
  it('resolves with a result that arrives in time', async () => {
    expect(await withTimeout(Promise.resolve('here'), 60_000, tooLate)).toBe('here')
  })

  it('waits without end if the limit is infinite', async () => {
    const late = new Promise((resolve) => setImmediate(resolve, 'here'))
    expect(await withTimeout(late, Number.POSITIVE_INFINITY, tooLate)).toBe('here')
  })

  it('rejects with the error of the work', async () => {
    await expect(withTimeout(Promise.reject(new Error('refused')), 60_000, tooLate)).rejects.toThrow(
      'refused',
    )
  })

  it.each([1, 0, -1])('rejects when %i ms have passed, and ignores a later error', async (limitMs) => {
    let fail: (error: Error) => void = () => undefined
    const work = new Promise<never>((_resolve, reject) => {
      fail = reject
    })
    await expect(withTimeout(work, limitMs, tooLate)).rejects.toThrow('too late')
    // An error that nobody handles would fail the test run.
    fail(new Error('later'))
    await new Promise((resolve) => setImmediate(resolve))
  })
})
