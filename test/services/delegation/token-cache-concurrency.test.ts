import { describe, expect, it } from 'vitest'
import { type DelegationRequest, requestKey } from '../../../src/domain/delegation.ts'
import { UnavailableError } from '../../../src/domain/errors.ts'
import { formatToken, type TokenData, type TokenKey } from '../../../src/domain/token.ts'
import type {
  DelegatedToken,
  TokenCacheService,
} from '../../../src/services/delegation/token-cache-service.ts'
import { requestLockKey } from '../../../src/stores/database/advisory-locks.ts'
import { IP, LIFE, SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { notingPuts } from '../../support/porthor/token-store.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { heldUp, makeGate } from '../../support/waiting/gate.ts'

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

describe.each(['redis', 'postgres'] as const)(
  'the token cache over %s, with concurrent requests:',
  (store) => {
    const t = usePorthor(store, { ...SHORT_LIVED, TOKEN_LIFETIME: '30d' })

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

    describe('rule 7: exactly one live child per request key, over all processes:', () => {
      it.each([
        ['internal', tap],
        ['notebook', notebook],
      ])(
        '200 equal requests at once in one process issue one token, with one row and one history event: %s',
        async (_, ask) => {
          const parent = await t.parent()
          const answers = await Promise.all(Array.from({ length: 200 }, () => ask(t.cache, parent)))
          expect(bearers(answers)).toHaveLength(1)
          expect(await t.children(parent)).toHaveLength(1)
          expect(await created(parent)).toHaveLength(1)
        },
      )

      it('concurrent requests that differ only in their minimum lifetime share one token', async () => {
        const parent = await t.parent()
        const minima = [undefined, 300, 600, LIFE - 600, LIFE - 300]
        const answers = await Promise.all(minima.map((minimum) => tap(t.cache, parent, minimum)))
        expect(bearers(answers)).toHaveLength(1)
        expect(await created(parent)).toHaveLength(1)
      })

      it('a request never shares the result of one with a shorter minimum lifetime', async () => {
        const parent = await t.parent()
        const old = await tap(t.cache, parent)
        t.clock.advance(LIFE - 599)
        t.cache.clear()
        const [less, more] = await Promise.all([tap(t.cache, parent, 300), tap(t.cache, parent, 600)])
        expect(less).toEqual({ data: old.data, source: 'database' })
        expect(more.source).toBe('new')
      })

      it('a notebook request never shares the result of one that was sent before the parent was edited', async () => {
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
        'of two processes that both found no child, one issues it and the other reuses it: %s',
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

      it('two processes issue one notebook token, though one still has the scopes before an edit', async () => {
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

      it('two processes share the new child where the minimum lifetime excludes the old one', async () => {
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
          'its request key is locked by another process',
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
      ])('no other request waits for a creation that is delayed because %s', async (_what, hold) => {
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
          ...(isParentFree
            ? [notebook(t.cache, parent), t.cache.getInternalToken(parent, 'tap', [], IP)]
            : []),
        ]
        for (const { source } of await Promise.all(others)) expect(source).toBe('new')

        await t.waiting(3)
        await holder.query('ROLLBACK; SELECT pg_advisory_unlock_all()')
        expect(bearers(await Promise.all(held))).toHaveLength(1)
      })

      it('no other request waits for a creation whose record takes long to be written', async () => {
        const parent = await t.parent()
        const [reached, released] = [makeGate(), makeGate()]
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

      it('a creation that fails, fails once for all requests that wait for it, and the next request tries again', async () => {
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

    describe('rule 9: unavailable is not invalid:', () => {
      const fault = new UnavailableError('redis', new Error('no answer'))

      it.each([
        ['a cached child', 'cache'],
        ['a child in the database', 'database'],
      ])(
        'while the record of %s cannot be read, the request is UNAVAILABLE and issues no other child',
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

      it('while the record of the parent cannot be read, nothing is issued', async () => {
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
  },
)
