import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { PorthorError } from '../../../src/domain/errors.ts'
import { formatToken, type TokenData, type TokenKey } from '../../../src/domain/token.ts'
import type { Caller } from '../../../src/services/tokens/token-service.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'

// A hundred programs of some transactions each.
vi.setConfig({ testTimeout: 240_000 })

const LIFE = 3_600

/** Something that the holder of one of the tokens does: which one is drawn from those that there are by then. */
interface Step {
  readonly token: number
  readonly does: 'internal' | 'notebook' | 'user' | 'service' | 'session' | 'modify'
  /** Of an edit: which token it is about. */
  readonly target: number
}

/** A token that was obtained, and the tokens with which it has to end. */
interface Obtained {
  readonly data: TokenData
  readonly endsWith: ReadonlySet<TokenKey>
}

const steps = fc.array(
  fc.record<Step>({
    // The newest come up most: chains are what escapes.
    token: fc.oneof({ weight: 3, arbitrary: fc.nat(1) }, { weight: 1, arbitrary: fc.nat(11) }),
    does: fc.constantFrom('internal', 'internal', 'notebook', 'user', 'service', 'session', 'modify'),
    target: fc.nat(3),
  }),
  { minLength: 3, maxLength: 9 },
)
const programs = fc.record({ steps, ending: fc.nat(3), isRevoked: fc.boolean() })

const REFUSALS = [
  'PERMISSION_DENIED',
  'UNAUTHENTICATED',
  'INSUFFICIENT_LIFETIME',
  'DELEGATION_TOO_DEEP',
  'INVALID_EXPIRES',
]

describe.each([
  ['as by default', 'false'],
  ['where delegated tokens may create tokens', 'true'],
])('rule 11: no escape, %s', (_what, mayCreate) => {
  const t = usePorthor(
    'postgres',
    {
      DELEGATED_TOKENS_MAY_CREATE: mayCreate,
      UNDELEGABLE_SCOPES: 'none',
      TOKEN_LIFETIME: `${LIFE}s`,
    },
    { isFresh: true },
  )
  const SCOPES = ['admin:token', 'user:token']
  let names = 0

  /** What the holder of `by` obtains; nothing for an edit, and for what is refused. */
  async function obtain(
    by: Obtained,
    { does, target }: Step,
    all: readonly Obtained[],
  ): Promise<TokenData | undefined> {
    const { services } = t.h.context
    const caller: Caller = { actor: { kind: 'token', data: by.data }, ipAddress: null }
    const facts = { username: 'wren', scopes: SCOPES, expiresAt: null }
    names += 1
    switch (does) {
      case 'internal':
        return (await services.tokenCache.getInternalToken(by.data, `s-${names}`, SCOPES, null)).data
      case 'notebook':
        return (await services.tokenCache.getNotebookToken(by.data, null)).data
      case 'user':
        return services.tokens.createUser(caller, { ...facts, tokenName: `${names}`, username: undefined })
      case 'service':
        return services.tokens.createService(caller, { ...facts, username: 'bot-wren' })
      case 'session':
        return services.tokens.createSession(caller, facts)
      case 'modify': {
        const users = all.filter(({ data }) => data.type === 'user')
        const key = users[target % users.length]?.data.token.key
        if (key) await services.modification.modify(caller, key, { expiresAt: null })
        return undefined
      }
    }
  }

  /** Runs a program from one session on, and answers with all that was obtained, that session first. */
  async function run(program: readonly Step[]): Promise<Obtained[]> {
    const bootstrap: Caller = { actor: { kind: 'bootstrap' }, ipAddress: null }
    const session = await t.h.context.services.tokens.createSession(bootstrap, {
      username: 'wren',
      scopes: SCOPES,
    })
    const all: Obtained[] = [{ data: session, endsWith: new Set() }]
    for (const step of program) {
      const by = all[all.length - 1 - (step.token % all.length)]
      if (!by) continue
      t.h.clock.advance(1)
      const data = await obtain(by, step, all).catch((error: unknown) => {
        if (error instanceof PorthorError && REFUSALS.includes(error.code)) return undefined
        throw error
      })
      if (!data) continue
      // What a user makes with a token of their own is meant to survive it.
      const isOwn = by.endsWith.size === 0 && data.type !== 'internal' && data.type !== 'notebook'
      all.push({ data, endsWith: isOwn ? new Set() : new Set([...by.endsWith, by.data.token.key]) })
    }
    return all
  }

  it('once a token is revoked or has expired, nothing that was obtained through it is accepted', async () => {
    await fc.assert(
      fc.asyncProperty(programs, async ({ steps: program, ending, isRevoked }) => {
        const all = await run(program)
        const ended = all[ending % all.length]?.data
        if (!ended) return
        const operator: Caller = { actor: { kind: 'operator' }, ipAddress: null }
        if (isRevoked) await t.h.context.services.revocation.revoke(operator, ended.token.key)
        else if (ended.expiresAt)
          t.h.clock.advance((ended.expiresAt.getTime() - t.h.clock.now().getTime()) / 1_000)
        else return

        for (const { data, endsWith } of all) {
          if (data !== ended && !endsWith.has(ended.token.key)) continue
          const accepted = t.h.context.services.authenticator.authenticate(formatToken(data.token))
          await expect(accepted).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
        }
      }),
      { numRuns: 100 },
    )
  })
})
