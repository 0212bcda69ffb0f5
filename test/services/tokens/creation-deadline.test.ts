import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { TokenDatabase } from '../../../src/stores/database/token-database.ts'
import { remainingMs, withinMs, withMoreMs } from '../../../src/stores/deadline.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'

const DELEGATE = 'mutation { lent: internalToken(service: "tap", scopes: ["read:all"]) { source } }'

describe('a creation', () => {
  const t = usePorthor('postgres', {}, { isFresh: true })

  /** What is left of the time for each question to the database, as it begins. */
  function watchTime(method: 'findChildren' | 'transaction'): number[] {
    const left: number[] = []
    const ask = TokenDatabase.prototype[method] as (...args: unknown[]) => Promise<unknown>
    const spy = vi.spyOn(TokenDatabase.prototype, method).mockImplementation(function (
      this: TokenDatabase,
      ...args: unknown[]
    ): Promise<never> {
      left.push(remainingMs())
      return Reflect.apply(ask, this, args) as Promise<never>
    })
    onTestFinished(() => spy.mockRestore())
    return left
  }

  it('has seven seconds in all, including the wait for its turn and the search for a live child before it', async () => {
    const session = await t.h.session()
    const [searching, issuing] = [watchTime('findChildren'), watchTime('transaction')]
    expect(await t.h.ask(DELEGATE, { token: session })).toMatchObject({ data: { lent: { source: 'NEW' } } })
    expect(searching).toHaveLength(1)
    expect(issuing).toHaveLength(1)
    expect(Number(searching[0])).toBeLessThanOrEqual(7_000)
    expect(Number(issuing[0])).toBeLessThan(Number(searching[0]))
  })
})

describe('work within a deadline', () => {
  it('has the time that an outer deadline leaves, and more only to undo what has failed', async () => {
    await withinMs(1, async () => {
      expect(await withinMs(60_000, async () => remainingMs())).toBeLessThanOrEqual(1)
      expect(await withMoreMs(60_000, async () => remainingMs())).toBeGreaterThan(1)
    })
  })
})
