import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it, vi } from 'vitest'
import { SingleFlight } from '../../src/lib/single-flight.ts'

/** Work that ends when the test says so. */
function hold<T>() {
  let resolve: (answer: T) => void = () => undefined
  let reject: (error: Error) => void = () => undefined
  const promise = new Promise<T>((resolved, rejected) => {
    resolve = resolved
    reject = rejected
  })
  return { resolve, reject, work: vi.fn(() => promise) }
}

describe('a single flight', () => {
  it('runs the work of concurrent callers of one key once, and returns the same result to all', async () => {
    const flights = new SingleFlight<object>()
    const { work, resolve } = hold<object>()
    const answers = Array.from({ length: 20 }, () => flights.run('a', work))
    await turn()
    const late = flights.run('a', work)
    const answer = {}
    resolve(answer)

    for (const each of [...answers, late]) expect(await each).toBe(answer)
    expect(work).toHaveBeenCalledTimes(1)
  })

  it('lets no caller wait for another key', async () => {
    const flights = new SingleFlight<string>()
    const slow = hold<string>()
    const first = flights.run('slow', slow.work)

    expect(await flights.run('quick', async () => 'done')).toBe('done')
    slow.resolve('done at last')
    expect(await first).toBe('done at last')
  })

  it('rejects for every waiting caller with the error, and does not keep it', async () => {
    const flights = new SingleFlight<string>()
    const { work, reject } = hold<string>()
    const answers = [flights.run('a', work), flights.run('a', work)]
    reject(new Error('no answer'))

    for (const each of answers) await expect(each).rejects.toThrow('no answer')
    expect(await flights.run('a', async () => 'better')).toBe('better')
  })

  it('keeps no result: a later caller runs the work again', async () => {
    const flights = new SingleFlight<number>()
    let runs = 0
    const work = async () => ++runs

    expect([await flights.run('a', work), await flights.run('a', work)]).toEqual([1, 2])
  })

  it('joins a flight that a caller of the last one started at once', async () => {
    const flights = new SingleFlight<number>()
    const second = hold<number>()
    const chained = flights.run('a', async () => 1).then(() => flights.run('a', second.work))
    await turn()
    const joined = flights.run('a', second.work)
    second.resolve(2)

    expect(await Promise.all([chained, joined])).toEqual([2, 2])
    expect(second.work).toHaveBeenCalledTimes(1)
  })

  it('leaves nothing behind when work throws before it returns a promise', async () => {
    const flights = new SingleFlight<string>()
    const fails = () => {
      throw new Error('at once')
    }

    await expect(async () => flights.run('a', fails)).rejects.toThrow('at once')
    expect(await flights.run('a', async () => 'done')).toBe('done')
  })
})
