import { describe, expect, it } from 'vitest'
import { type DelegationRequest, requestKey } from '../../../src/domain/delegation.ts'
import { UnavailableError } from '../../../src/domain/errors.ts'
import { formatToken, type TokenData, type TokenKey } from '../../../src/domain/token.ts'
import type {
  DelegatedToken,
  TokenCacheService,
} from '../../../src/services/delegation/token-cache-service.ts'
import { requestLockKey } from '../../../src/stores/database/advisory-locks.ts'
import { IP, LIFE, notingPuts, useHeart } from '../../support/heart.ts'
import { Revocation } from '../../support/revocation.ts'

const TAP: DelegationRequest = { type: 'internal', service: 'tap', scopes: ['read:all'] }

const tap = (
  cache: TokenCacheService,
  parent: TokenData,
  minimumLifetime?: number,
): Promise<DelegatedToken> => cache.getInternalToken(parent, 'tap', ['read:all'], IP, { minimumLifetime })

const notebook = (cache: TokenCacheService, parent: TokenData): Promise<DelegatedToken> =>
  cache.getNotebookToken(parent, IP)

const bearers = (answers: readonly DelegatedToken[]) => [
  ...new Set(answers.map(({ data }) => formatToken(data.token))),
]

const sources = (answers: readonly DelegatedToken[]) => answers.map(({ source }) => source).sort()

/** Something to wait for, and the way to end the wait. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open: () => void = () => undefined
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open: () => open() }
}

/** Not a rejection until somebody asks: for work that another piece of work holds up. */
const heldUp = <T>(work: Promise<T>): Promise<T> => {
  work.catch(() => undefined)
  return work
}

describe.each(['redis', 'postgres'] as const)('the token cache over %s, at the same time', (store) => {
  const t = useHeart(store, { TOKEN_LIFETIME: '30d' })

  const created = (parent: TokenData) =>
    t.h.sql("SELECT token FROM token_change_history WHERE parent = $1 AND action = 'create'", [
      parent.token.key,
    ])

  /** Stops every creation after it has taken its locks and looked again, and before it writes. */
  const stopInserts = async (): Promise<() => Promise<void>> => {
    const client = await t.connect()
    await client.query('BEGIN; LOCK TABLE token_change_history IN SHARE MODE')
    return async () => void (await client.query('ROLLBACK'))
  }

  describe('rule 7: exactly one live child per request shape, over all processes', () => {
    it.each([
      ['internal', tap],
      ['notebook', notebook],
    ])(
      '200 equal requests at once in one process make one token, one row and one history entry: %s',
      async (_, ask) => {
        const parent = await t.parent()
        const answers = await Promise.all(Array.from({ length: 200 }, () => ask(t.cache, parent)))
        expect(bearers(answers)).toHaveLength(1)
        expect(await t.children(parent)).toHaveLength(1)
        expect(await created(parent)).toHaveLength(1)
      },
    )

    it('requests at once that differ in their minimum lifetime alone share one token, too', async () => {
      const parent = await t.parent()
      const minima = [undefined, 300, 600, LIFE - 600, LIFE - 300]
      const answers = await Promise.all(minima.map((minimum) => tap(t.cache, parent, minimum)))
      expect(bearers(answers)).toHaveLength(1)
      expect(await created(parent)).toHaveLength(1)
    })

    it('a request never shares the answer to one that asked for less', async () => {
      const parent = await t.parent()
      const old = await tap(t.cache, parent)
      t.clock.advance(LIFE - 599)
      t.cache.clear()
      const [less, more] = await Promise.all([tap(t.cache, parent, 300), tap(t.cache, parent, 600)])
      expect(less).toEqual({ data: old.data, source: 'database' })
      expect(more.source).toBe('new')
    })

    it('a notebook never shares the answer to one that asked before its parent was edited', async () => {
      const parent = await t.parent()
      const old = await notebook(t.cache, parent)
      const edited = await t.edit(parent, { scopes: ['read:all'] })
      t.cache.clear()
      const [before, after] = await Promise.all([notebook(t.cache, parent), notebook(t.cache, edited)])
      expect(before.data).toEqual(old.data)
      expect(after.data.scopes).toEqual(['read:all'])
    })

    it.each([
      ['internal', tap],
      ['notebook', notebook],
    ])(
      'of two processes that both found nothing one makes the token, and the other looks again: %s',
      async (_, ask) => {
        const parent = await t.parent()
        const letGo = await stopInserts()
        const asked = [t.cache, t.anotherProcess()].map((cache) => heldUp(ask(cache, parent)))
        await t.waiting(2)
        await letGo()
        const answers = await Promise.all(asked)
        expect(sources(answers)).toEqual(['database', 'new'])
        expect(bearers(answers)).toHaveLength(1)
        expect(await created(parent)).toHaveLength(1)
      },
    )

    it('two processes make one notebook token, though one still has the scopes before an edit', async () => {
      const parent = await t.parent()
      const edited = await t.edit(parent, { scopes: ['read:all'] })
      const letGo = await stopInserts()
      const asked = [heldUp(notebook(t.cache, parent)), heldUp(notebook(t.anotherProcess(), edited))]
      await t.waiting(2)
      await letGo()
      const answers = await Promise.all(asked)
      expect(answers.map(({ data }) => data.scopes)).toEqual([['read:all'], ['read:all']])
      expect(await created(parent)).toHaveLength(1)
    })

    it('two processes share the child that the stricter one has made, where a minimum rules the old one out', async () => {
      const parent = await t.parent()
      await tap(t.cache, parent)
      t.clock.advance(600)
      const letGo = await stopInserts()
      const asked = [t.cache, t.anotherProcess()].map((cache) => heldUp(tap(cache, parent, LIFE - 300)))
      await t.waiting(2)
      await letGo()
      expect(bearers(await Promise.all(asked))).toHaveLength(1)
      expect(await created(parent)).toHaveLength(2)
    })

    it.each([
      [
        'its shape is locked by another process',
        (parent: TokenData) => ({
          sql: 'SELECT pg_advisory_lock($1)',
          value: requestLockKey(requestKey(parent, TAP)),
          isParentFree: true,
        }),
      ],
      [
        'its parent is being edited',
        (parent: TokenData) => ({
          sql: 'SELECT FROM token WHERE token = $1 FOR UPDATE',
          value: parent.token.key,
          isParentFree: false,
        }),
      ],
    ])('nobody else waits for a creation that is held up because %s', async (_what, hold) => {
      const parent = await t.parent()
      const sibling = await t.parent({ username: parent.username })
      const stranger = await t.parent()
      const warm = (await t.cache.getInternalToken(parent, 'portal', [], IP)).data
      const { sql, value, isParentFree } = hold(parent)
      const holder = await t.connect()
      await holder.query('BEGIN')
      await holder.query(sql, [value])
      // More than one, as a convoy forms behind the first who waits.
      const held = [300, 600, 900].map((minimum) => heldUp(tap(t.cache, parent, minimum)))
      await t.waiting(3)

      expect(await t.cache.getInternalToken(parent, 'portal', [], IP)).toEqual({
        data: warm,
        source: 'cache',
      })
      const others = [
        tap(t.cache, sibling),
        tap(t.cache, stranger),
        notebook(t.cache, stranger),
        ...(isParentFree ? [notebook(t.cache, parent), t.cache.getInternalToken(parent, 'tap', [], IP)] : []),
      ]
      for (const { source } of await Promise.all(others)) expect(source).toBe('new')

      await t.waiting(3)
      await holder.query('ROLLBACK; SELECT pg_advisory_unlock_all()')
      expect(bearers(await Promise.all(held))).toHaveLength(1)
    })

    it('nobody else waits for a creation whose store entry takes its time', async () => {
      const parent = await t.parent()
      const [reached, released] = [gate(), gate()]
      const cache = t.processOver((tokens) => ({
        put: async (data) => {
          if (data.username === parent.username) {
            reached.open()
            await released.opened
          }
          await tokens.put(data)
        },
      }))
      const held = tap(cache, parent)
      await reached.opened
      expect((await tap(cache, await t.parent())).source).toBe('new')
      released.open()
      expect((await held).source).toBe('new')
    })

    it('a creation that fails fails once for all who wait for it, and the next request tries anew', async () => {
      const parent = await t.parent()
      const fault = new UnavailableError('redis', new Error('a write was refused'))
      let attempts = 0
      const cache = t.processOver((tokens) => ({
        put: (data) => {
          attempts += 1
          return attempts === 1 ? Promise.reject(fault) : tokens.put(data)
        },
      }))
      const answers = await Promise.allSettled(Array.from({ length: 50 }, () => tap(cache, parent)))
      for (const answer of answers) expect(answer).toEqual({ status: 'rejected', reason: fault })
      expect(attempts).toBe(1)
      expect((await tap(cache, parent)).source).toBe('new')
    })
  })

  describe('rule 8: no child of a dead parent', () => {
    const revocation = async ({ token }: TokenData): Promise<Revocation> => {
      const revoke = new Revocation(await t.connect(), t.tokens, token.key)
      await revoke.begin()
      return revoke
    }

    /** Nothing is left of any token of this user, in either store. */
    const expectNothingOf = async (parent: TokenData, keys: readonly TokenKey[]) => {
      expect(await t.h.sql('SELECT token FROM token WHERE username = $1', [parent.username])).toEqual([])
      expect(await Promise.all(keys.map((key) => t.tokens.find(key)))).toEqual(keys.map(() => undefined))
    }

    it.each([
      ['internal', tap],
      ['notebook', notebook],
    ])(
      'a creation that comes after a revoke has begun waits for it, and makes nothing: %s',
      async (_, ask) => {
        const parent = await t.parent()
        const puts: TokenKey[] = []
        const cache = t.processOver(notingPuts(puts))
        const revoke = await revocation(parent)
        await revoke.lockLevel()
        const asked = heldUp(ask(cache, parent))
        await t.waiting(1)
        await revoke.finish()
        await expect(asked).rejects.toMatchObject({ code: 'UNAUTHENTICATED', reason: 'unknown' })
        expect(puts).toEqual([])
        await expectNothingOf(parent, [parent.token.key])
      },
    )

    it.each([
      ['internal', tap],
      ['notebook', notebook],
    ])(
      'a revoke that comes after a creation has begun waits for it, and ends the new child, too: %s',
      async (_, ask) => {
        const parent = await t.parent()
        const letGo = await stopInserts()
        const asked = heldUp(ask(t.cache, parent))
        await t.waiting(1)
        const revoke = await revocation(parent)
        const locked = heldUp(revoke.lockLevel())
        await t.waiting(2)
        await letGo()
        const { data } = await asked
        await locked
        expect(await revoke.finish()).toEqual([parent.token.key, data.token.key])
        await expectNothingOf(parent, [parent.token.key, data.token.key])
      },
    )

    it('a creation that comes after the store entries have gone makes no replacement under a dying parent', async () => {
      const parent = await t.parent()
      const child = (await tap(t.cache, parent)).data
      const puts: TokenKey[] = []
      const cache = t.processOver(notingPuts(puts))
      const revoke = await revocation(parent)
      await revoke.lockAll()
      await revoke.deleteEntries()
      const asked = heldUp(tap(cache, parent))
      await t.waiting(1)
      await revoke.deleteRowsAndCommit()
      await expect(asked).rejects.toMatchObject({ code: 'UNAUTHENTICATED', reason: 'unknown' })
      expect(puts).toEqual([])
      await expectNothingOf(parent, [parent.token.key, child.token.key])
    })

    it('a creation makes nothing for a parent whose store entry alone has gone so far', async () => {
      const parent = await t.parent()
      const puts: TokenKey[] = []
      await t.tokens.delete([parent.token.key])
      const asked = tap(t.processOver(notingPuts(puts)), parent)
      await expect(asked).rejects.toMatchObject({ code: 'UNAUTHENTICATED', reason: 'unknown' })
      expect(puts).toEqual([])
    })

    it('a creation two levels below waits for the revoke of the whole tree', async () => {
      const session = await t.parent()
      const parent = (await t.cache.getInternalToken(session, 'portal', ['read:all'], IP)).data
      const revoke = await revocation(session)
      await revoke.lockAll()
      const asked = heldUp(tap(t.cache, parent))
      await t.waiting(1)
      await revoke.finish()
      await expect(asked).rejects.toMatchObject({ code: 'UNAUTHENTICATED', reason: 'unknown' })
      await expectNothingOf(session, [session.token.key, parent.token.key])
    })

    it('a revoke that has only locked the top finds what was made below meanwhile', async () => {
      const session = await t.parent()
      const parent = (await t.cache.getInternalToken(session, 'portal', ['read:all'], IP)).data
      const letGo = await stopInserts()
      const asked = heldUp(tap(t.cache, parent))
      await t.waiting(1)
      const revoke = await revocation(session)
      await revoke.lockLevel()
      const finished = heldUp(revoke.finish())
      await t.waiting(2)
      await letGo()
      const child = (await asked).data
      expect(await finished).toContain(child.token.key)
      await expectNothingOf(session, [session.token.key, parent.token.key, child.token.key])
    })

    it('a cached child ends with its parent', async () => {
      const parent = await t.parent()
      await tap(t.cache, parent)
      await (await revocation(parent)).finish()
      await expect(tap(t.cache, parent)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
    })

    describe('nor one that has more than its parent: an edit that a creation had to wait for counts', () => {
      /** What `ask` answers when the parent is edited after the request was authenticated. */
      const duringEdit = async <T>(
        parent: TokenData,
        edit: Partial<TokenData>,
        ask: () => Promise<T>,
        where = { row: true, entry: true },
      ): Promise<T> => {
        const client = await t.connect()
        await client.query('BEGIN')
        await client.query('SELECT FROM token WHERE token = $1 FOR UPDATE', [parent.token.key])
        const asked = heldUp(ask())
        await t.waiting(1)
        const edited = { ...parent, ...edit } as TokenData
        if (where.entry) await t.tokens.put(edited)
        if (where.row) {
          await client.query(
            'UPDATE token SET scopes = $2, expires = $3::timestamptz AT TIME ZONE $4 WHERE token = $1',
            [parent.token.key, edited.scopes.join(','), edited.expiresAt?.toISOString(), 'UTC'],
          )
        }
        await client.query('COMMIT')
        return asked
      }
      const inSeconds = (seconds: number) => new Date(t.clock.now().getTime() + seconds * 1000)

      const WHERE = [
        ['both stores', { row: true, entry: true }],
        ['the database only', { row: true, entry: false }],
        ['the token store only', { row: false, entry: true }],
      ] as const

      it.each(WHERE)('the child of a parent that was shortened ends with it: in %s', async (_what, where) => {
        const parent = await t.parent()
        const edit = { expiresAt: inSeconds(1_000) }
        const { data } = await duringEdit(parent, edit, () => tap(t.cache, parent), where)
        expect(data.expiresAt).toEqual(edit.expiresAt)
      })

      it.each([
        ['under 300 s', 299, undefined],
        ['under the minimum lifetime', 900, 901],
      ])('a parent that was shortened to %s has no child', async (_what, seconds, minimumLifetime) => {
        const parent = await t.parent()
        const edit = { expiresAt: inSeconds(seconds) }
        const asked = duringEdit(parent, edit, () => tap(t.cache, parent, minimumLifetime))
        await expect(asked).rejects.toMatchObject({ code: 'INSUFFICIENT_LIFETIME' })
        expect(await t.children(parent)).toEqual([])
      })

      it.each(WHERE)('a scope that the parent has lost is not lent: in %s', async (_what, where) => {
        const parent = await t.parent()
        const asked = duringEdit(parent, { scopes: ['read:tap'] }, () => tap(t.cache, parent), where)
        await expect(asked).rejects.toMatchObject({ code: 'INVALID_SCOPES' })
        expect(await t.children(parent)).toEqual([])
      })

      it.each(WHERE)('a notebook token has the scopes that are left: in %s', async (_what, where) => {
        const parent = await t.parent()
        const ask = () => notebook(t.cache, parent)
        const { data } = await duringEdit(parent, { scopes: ['read:tap'] }, ask, where)
        expect(data.scopes).toEqual(['read:tap'])
      })
    })
  })

  describe('rule 9: unknown is not invalid', () => {
    const fault = new UnavailableError('redis', new Error('no answer'))

    it.each([
      ['a cached child', 'cache'],
      ['a child in the database', 'database'],
    ])(
      'when the store cannot be asked of %s, that is the answer, and no other child',
      async (_what, source) => {
        const parent = await t.parent()
        let unknown: TokenKey | undefined
        const puts: TokenKey[] = []
        const cache = t.processOver((tokens) => ({
          ...notingPuts(puts)(tokens),
          find: (key, options) => {
            if (key !== unknown) return tokens.find(key, options)
            unknown = undefined
            return Promise.reject(fault)
          },
        }))
        const { data } = await tap(cache, parent)
        unknown = data.token.key
        if (source === 'database') cache.clear()
        await expect(tap(cache, parent)).rejects.toBe(fault)
        expect(await tap(cache, parent)).toEqual({ data, source })
        expect(puts).toEqual([data.token.key])
      },
    )

    it('when the store cannot be asked of the parent any more, nothing is made', async () => {
      const parent = await t.parent()
      const puts: TokenKey[] = []
      const cache = t.processOver((tokens) => ({
        ...notingPuts(puts)(tokens),
        find: (key, options) =>
          key === parent.token.key ? Promise.reject(fault) : tokens.find(key, options),
      }))
      await expect(tap(cache, parent)).rejects.toBe(fault)
      expect(puts).toEqual([])
      expect(await t.children(parent)).toEqual([])
    })
  })
})
