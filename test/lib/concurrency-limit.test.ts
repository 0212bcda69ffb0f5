import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { ConcurrencyLimit } from '../../src/lib/concurrency-limit.ts'

/** Work that ends when `end` is called with its name. */
function openWork() {
  const begun: string[] = []
  const ends = new Map<string, () => void>()
  const work = (name: string) => () => {
    begun.push(name)
    return new Promise<string>((resolve) => ends.set(name, () => resolve(name)))
  }
  return { begun, work, end: (name: string) => ends.get(name)?.() }
}

it('as many tasks of one key run at a time as the limit allows, in the order of arrival, and each key has its own limit', async () => {
  const { begun, work, end } = openWork()
  const limit = new ConcurrencyLimit({ maxRunning: 2, maxWaiting: 10 })
  const results = ['a1', 'a2', 'a3', 'a4', 'b1'].map((name) => limit.run(name.slice(0, 1), work(name)))
  await setImmediate()
  expect(begun).toEqual(['a1', 'a2', 'b1'])
  end('a2')
  await setImmediate()
  expect(begun).toEqual(['a1', 'a2', 'b1', 'a3'])
  for (const name of ['a1', 'a3', 'b1']) end(name)
  await setImmediate()
  end('a4')
  expect(await Promise.all(results)).toEqual(['a1', 'a2', 'a3', 'a4', 'b1'])
})

it('a task that fails passes its place to the next one', async () => {
  const limit = new ConcurrencyLimit({ maxRunning: 1, maxWaiting: 10 })
  const fails = limit.run('a', () => Promise.reject(new Error('x')))
  const next = limit.run('a', async () => 'next')
  await expect(fails).rejects.toThrow('x')
  expect(await next).toBe('next')
})

it('a task is refused and never runs if too many are waiting', async () => {
  const { begun, work, end } = openWork()
  const limit = new ConcurrencyLimit({ maxRunning: 1, maxWaiting: 1 })
  const [first, second, third] = ['1', '2', '3'].map((name) => limit.run('a', work(name)))
  expect(third).toBe(undefined)
  end('1')
  await first
  await setImmediate()
  end('2')
  await second
  expect(begun).toEqual(['1', '2'])
})
