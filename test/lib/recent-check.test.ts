import { expect, it } from 'vitest'
import { RecentCheck } from '../../src/lib/recent-check.ts'

/** A check that ends when `end` is called. */
function openCheck() {
  let now = 0
  const ends: ((fault?: Error) => void)[] = []
  const recent = new RecentCheck<void>({
    check: () =>
      new Promise((resolve, reject) => {
        ends.push((fault) => (fault ? reject(fault) : resolve()))
      }),
    maxAgeMs: 1_000,
    now: () => now,
  })
  return {
    recent,
    count: () => ends.length,
    end: (fault?: Error) => ends.at(-1)?.(fault),
    advance: (ms: number) => {
      now += ms
    },
  }
}

it('a flood of questions is answered by one check at a time, and by its outcome for a second', async () => {
  const { recent, count, end, advance } = openCheck()
  const flood = Array.from({ length: 1_000 }, () => recent.run())
  expect(count()).toBe(1)
  end()
  await Promise.all(flood)
  advance(999)
  await recent.run()
  expect(count()).toBe(1)
  advance(1)
  const next = recent.run()
  expect(count()).toBe(2)
  end()
  await next
})

it('a failure stands as long, and no longer', async () => {
  const { recent, count, end, advance } = openCheck()
  const first = recent.run()
  end(new Error('away'))
  await expect(first).rejects.toThrow('away')
  await expect(recent.run()).rejects.toThrow('away')
  advance(1_000)
  const next = recent.run()
  expect(count()).toBe(2)
  end()
  await next
})
