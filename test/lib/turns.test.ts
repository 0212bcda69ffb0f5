import { describe, expect, it, vi } from 'vitest'
import { Turns } from '../../src/lib/turns.ts'

/** Work that ends when it is told to. */
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

const openTurns = (max: number, maxWaitMs = 60_000) =>
  new Turns({ max, maxWaitMs, tooLate: () => new Error('too late') })

describe('Turns', () => {
  it('runs as many of one key at a time as it may, and the others in the order in which they came', async () => {
    const turns = openTurns(2)
    const begun: string[] = []
    const works = ['a', 'b', 'c', 'd'].map((name) => openWork(begun, name))
    const all = works.map(({ work }) => turns.run('key', work))
    await tick()
    expect(begun).toEqual(['a', 'b'])
    works[1]?.end()
    await tick()
    expect(begun).toEqual(['a', 'b', 'c'])
    for (const { end } of works) end()
    expect(await Promise.all(all)).toEqual(['a', 'b', 'c', 'd'])
  })

  it('lets those of another key run meanwhile', async () => {
    const turns = openTurns(1)
    const begun: string[] = []
    const [one, two] = [openWork(begun, 'one'), openWork(begun, 'two')]
    const first = turns.run('key', one.work)
    const second = turns.run('other key', two.work)
    await tick()
    expect(begun).toEqual(['one', 'two'])
    one.end()
    two.end()
    await Promise.all([first, second])
  })

  it('passes the turn of work that fails on, and remembers no key afterwards', async () => {
    const turns = openTurns(1)
    const failed = turns.run('key', () => Promise.reject(new Error('broken')))
    const next = turns.run('key', async () => 'next')
    await expect(failed).rejects.toThrow('broken')
    expect(await next).toBe('next')
    expect(await turns.run('key', async () => 'later')).toBe('later')
  })

  it('refuses who has waited too long, without ever running the work, and takes no turn from the others', async () => {
    vi.useFakeTimers()
    try {
      const turns = openTurns(1, 5_000)
      const begun: string[] = []
      const first = openWork(begun, 'first')
      const running = turns.run('key', first.work)
      const late = turns.run('key', openWork(begun, 'late').work)
      const refused = expect(late).rejects.toThrow('too late')
      await vi.advanceTimersByTimeAsync(5_000)
      await refused
      const last = openWork(begun, 'last')
      const waiting = turns.run('key', last.work)
      first.end()
      last.end()
      await Promise.all([running, waiting])
      expect(begun).toEqual(['first', 'last'])
    } finally {
      vi.useRealTimers()
    }
  })
})
