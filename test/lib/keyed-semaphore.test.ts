import { describe, expect, it, vi } from 'vitest'
import { KeyedSemaphore } from '../../src/lib/keyed-semaphore.ts'

/** Work that ends when `end` is called. */
function openWork(log: string[], name: string) {
  let end: () => void = () => undefined
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  const work = async () => {
    log.push(name)
    await ended
    return name
  }
  return { work, end: () => end() }
}

const tick = () => new Promise<void>((resolve) => setImmediate(resolve))

const MAX_WAIT_MS = 5_000

const createSemaphore = (max: number) =>
  new KeyedSemaphore({ maxRunning: max, createTimeoutError: () => new Error('too late') })

describe('KeyedSemaphore', () => {
  it('runs as many tasks of one key at a time as it may, and the others in the order of arrival', async () => {
    const semaphore = createSemaphore(2)
    const begun: string[] = []
    const works = ['a', 'b', 'c', 'd'].map((name) => openWork(begun, name))
    const all = works.map(({ work }) => semaphore.run('key', MAX_WAIT_MS, work))
    await tick()
    expect(begun).toEqual(['a', 'b'])
    works[1]?.end()
    await tick()
    expect(begun).toEqual(['a', 'b', 'c'])
    for (const { end } of works) end()
    expect(await Promise.all(all)).toEqual(['a', 'b', 'c', 'd'])
  })

  it('runs tasks of another key meanwhile', async () => {
    const semaphore = createSemaphore(1)
    const begun: string[] = []
    const [one, two] = [openWork(begun, 'one'), openWork(begun, 'two')]
    const first = semaphore.run('key', MAX_WAIT_MS, one.work)
    const second = semaphore.run('other key', MAX_WAIT_MS, two.work)
    await tick()
    expect(begun).toEqual(['one', 'two'])
    one.end()
    two.end()
    await Promise.all([first, second])
  })

  it('passes the place of a task that fails to the next one, and keeps no key afterwards', async () => {
    const semaphore = createSemaphore(1)
    const failed = semaphore.run('key', MAX_WAIT_MS, () => Promise.reject(new Error('broken')))
    const next = semaphore.run('key', MAX_WAIT_MS, async () => 'next')
    await expect(failed).rejects.toThrow('broken')
    expect(await next).toBe('next')
    expect(await semaphore.run('key', MAX_WAIT_MS, async () => 'later')).toBe('later')
  })

  it('rejects a task that has waited too long without ever running it, and takes no place from the others', async () => {
    vi.useFakeTimers()
    try {
      const semaphore = createSemaphore(1)
      const begun: string[] = []
      const first = openWork(begun, 'first')
      const running = semaphore.run('key', MAX_WAIT_MS, first.work)
      const late = semaphore.run('key', MAX_WAIT_MS, openWork(begun, 'late').work)
      const refused = expect(late).rejects.toThrow('too late')
      await vi.advanceTimersByTimeAsync(5_000)
      await refused
      const last = openWork(begun, 'last')
      const waiting = semaphore.run('key', MAX_WAIT_MS, last.work)
      first.end()
      last.end()
      await Promise.all([running, waiting])
      expect(begun).toEqual(['first', 'last'])
    } finally {
      vi.useRealTimers()
    }
  })
})
