import { setImmediate } from 'node:timers/promises'
import { describe, expect, it, vi } from 'vitest'
import { useTarget } from './target.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 180_000 })

describe('a server that nobody attacks', () => {
  const t = useTarget()

  it('serves the well-behaved client', async () => {
    const { livez, delegation } = await t.served(() => setImmediate())
    expect(livez.answered).toBe(livez.sent)
    expect(delegation.answered).toBe(delegation.sent)
    expect(delegation.sent).toBeGreaterThan(0)
  })
})
