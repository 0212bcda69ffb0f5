import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { LIFE, Programs, steps } from '../../support/tokens/escape-programs.ts'

// A hundred programs of some transactions each.
vi.setConfig({ testTimeout: 240_000 })

const programs = fc.record({
  program: steps,
  ending: fc.nat(7),
  does: fc.constantFrom('revoke' as const, 'expire' as const),
})

const SELF = { DELEGATION: 'self' }
const GATEWAY = { DELEGATION: 'gateway', DELEGATION_CHAINS: 'true' }

describe.each([
  ['where holders delegate', SELF],
  ['where delegated tokens may create tokens', { ...SELF, DELEGATED_TOKENS_MAY_CREATE: 'true' }],
  ['where gateways delegate', GATEWAY],
  [
    'where gateways delegate and delegated tokens may create tokens',
    { ...GATEWAY, DELEGATED_TOKENS_MAY_CREATE: 'true' },
  ],
])('rule 11: no escape, %s', (_what, env) => {
  const t = usePorthor(
    'postgres',
    { ...env, UNDELEGABLE_SCOPES: 'none', TOKEN_LIFETIME: `${LIFE}s`, LOG_LEVEL: 'warn' },
    { isFresh: true },
  )

  it('once a token is revoked or has expired, nothing that was obtained through it is accepted, whatever was done before', async () => {
    const runner = new Programs(t.h)
    await fc.assert(
      fc.asyncProperty(programs, async ({ program, ending, does }) => {
        const all = await runner.run(program)
        // One with which others must end, if there is one.
        const roots = all.filter((root) => all.some(({ endsWith }) => endsWith.has(root.data.token.key)))
        const ended = roots[ending % roots.length] ?? all[0]
        if (ended) await runner.end(ended, does)
        const accepted = await runner.accepted(all)
        // One that has expired may have been extended before.
        if (ended && does === 'revoke') expect(accepted).not.toContain(ended.data.token.key)
        for (const { data, endsWith } of all) {
          if (!accepted.has(data.token.key)) continue
          expect([...endsWith].filter((key) => !accepted.has(key))).toEqual([])
        }
      }),
      { numRuns: 50 },
    )
  })
})
