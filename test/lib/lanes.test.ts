import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { Lanes } from '../../src/lib/lanes.ts'

/** Work that ends when it is let go. */
function openWork() {
  const begun: string[] = []
  const ends = new Map<string, () => void>()
  const work = (name: string) => () => {
    begun.push(name)
    return new Promise<string>((resolve) => ends.set(name, () => resolve(name)))
  }
  return { begun, work, end: (name: string) => ends.get(name)?.() }
}

it('as many are let through a lane at a time as it is wide, in their order, and each lane by itself', async () => {
  const { begun, work, end } = openWork()
  const lanes = new Lanes({ width: 2, maxWaiting: 10 })
  const results = ['a1', 'a2', 'a3', 'a4', 'b1'].map((name) => lanes.run(name.slice(0, 1), work(name)))
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

it('what fails gives its place to the next', async () => {
  const lanes = new Lanes({ width: 1, maxWaiting: 10 })
  const fails = lanes.run('a', () => Promise.reject(new Error('x')))
  const next = lanes.run('a', async () => 'next')
  await expect(fails).rejects.toThrow('x')
  expect(await next).toBe('next')
})

it('where too many wait already, nothing is done', async () => {
  const { begun, work, end } = openWork()
  const lanes = new Lanes({ width: 1, maxWaiting: 1 })
  const [first, second, third] = ['1', '2', '3'].map((name) => lanes.run('a', work(name)))
  expect(third).toBe(undefined)
  end('1')
  await first
  await setImmediate()
  end('2')
  await second
  expect(begun).toEqual(['1', '2'])
})
