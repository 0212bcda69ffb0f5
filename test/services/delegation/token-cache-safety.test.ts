import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  formatToken,
  generateToken,
  parseToken,
  type TokenData,
  type TokenKey,
} from '../../../src/domain/token.ts'
import type { TokenCacheService } from '../../../src/services/delegation/token-cache-service.ts'
import { IP, LIFE, SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { plant } from '../../support/porthor/planted-token.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'

const HALF = LIFE / 2

const lend = (
  cache: TokenCacheService,
  parent: TokenData,
  service = 'tap',
  minimumLifetime?: number,
  scopes: readonly string[] = ['read:all'],
) => cache.getInternalToken(parent, service, scopes, IP, { minimumLifetime })

/** A promise that is kept when the test says so. */
function later<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined
  const promise = new Promise<T>((resolved) => {
    resolve = resolved
  })
  return { promise, resolve }
}

/** A full garbage collection, once what is under way has let go of what it held. */
async function collectGarbage(): Promise<void> {
  setFlagsFromString('--expose-gc')
  const gc: () => void = runInNewContext('gc')
  await turn()
  gc()
}

/** Every pair of texts that is compared in constant time from here on. */
function watchComparisons(): [string, string][] {
  const pairs: [string, string][] = []
  const compare = crypto.timingSafeEqual
  const spy = vi.spyOn(crypto, 'timingSafeEqual').mockImplementation((left, right) => {
    pairs.push([String(left), String(right)])
    return compare(left, right)
  })
  syncBuiltinESMExports()
  onTestFinished(() => {
    spy.mockRestore()
    syncBuiltinESMExports()
  })
  return pairs
}

describe('unlike in the token cache of Gafaelfawr,', () => {
  const t = usePorthor('redis', { ...SHORT_LIVED, TOKEN_LIFETIME: '30d' })
  const VIEWER = '{ viewer { token { key } } }'

  it('a finished request, granted or refused, leaves no waiter in memory and no lock', async () => {
    const parents = [await t.parent(), await t.parent()]
    await t.h.sql('DELETE FROM token WHERE token = $1', [parents[1]?.token.key])
    t.expectErrors()
    const outcomes: WeakRef<object>[] = []
    const ask = async (parent: TokenData) => {
      const outcome: unknown = await lend(t.cache, parent).catch((error: unknown) => error)
      outcomes.push(new WeakRef(outcome as object))
    }
    for (const parent of parents) await ask(parent)

    await vi.waitFor(async () => {
      await collectGarbage()
      expect(outcomes.map((outcome) => outcome.deref())).toEqual([undefined, undefined])
    })
    const locks = `SELECT FROM pg_locks JOIN pg_database d ON d.oid = database
      WHERE locktype = 'advisory' AND datname = current_database()`
    expect(await t.h.sql(locks)).toEqual([])
  })

  it.each([
    ['the cache', () => t.cache],
    ['the database', () => t.anotherProcess()],
  ])(
    'a token reused from %s has enough lifetime left to delegate for half of its lifetime',
    async (_what, again) => {
      const parent = await t.parent({ endsIn: 30 * 24 * LIFE })
      const first = await lend(t.cache, parent)
      t.clock.advance(HALF)
      const { data } = await lend(again(), parent)
      expect(data).toEqual(first.data)

      t.clock.advance(HALF - 300)
      expect((await lend(t.cache, data, 'portal')).data.expiresAt).toEqual(data.expiresAt)
    },
  )

  it('a token past half of its lifetime is replaced while it can still delegate, and the new one has a full lifetime', async () => {
    const parent = await t.parent({ endsIn: 30 * 24 * LIFE })
    const old = await lend(t.cache, parent)
    t.clock.advance(HALF + 1)
    expect((await lend(t.cache, old.data, 'portal')).source).toBe('new')
    const { data, source } = await lend(t.cache, parent)
    expect([source, data.expiresAt.getTime() - t.clock.now().getTime()]).toEqual(['new', LIFE * 1000])
  })

  it('a scope that the parent loses is at once lost by the cached children', async () => {
    const parent = await t.parent({ scopes: ['read:all', 'read:tap'] })
    const lent = [
      await lend(t.cache, parent, 'tap', undefined, ['read:all', 'read:tap']),
      await t.cache.getNotebookToken(parent, IP),
    ]
    await t.h.context.services.modification.modify(
      { actor: { kind: 'bootstrap' }, ipAddress: null },
      parent.token.key,
      { scopes: ['read:tap'] },
    )

    for (const { data } of lent) {
      expect((await t.h.stored(formatToken(data.token))).scopes).toEqual(['read:tap'])
    }
    // The parent as a request knows it that was under way meanwhile.
    await expect(lend(t.cache, parent, 'tap', undefined, ['read:all', 'read:tap'])).rejects.toMatchObject({
      code: 'INVALID_SCOPES',
    })
    expect((await t.cache.getNotebookToken(parent, IP)).data.scopes).toEqual(['read:tap'])
  })

  it('audit --fix takes nothing from a token whose record is written and whose row is not yet committed', async () => {
    const { promise: mayCommit, resolve: commit } = later<void>()
    const { promise: stored, resolve: tellStored } = later<TokenKey>()
    const process = t.processOver((tokens) => ({
      put: async (data) => {
        await tokens.put(data)
        tellStored(data.token.key)
        await mayCommit
      },
    }))
    const asked = lend(process, await t.parent())
    const key = await stored
    for await (const finding of t.h.context.services.audit.run({ fix: true })) {
      expect(finding.key).not.toBe(key)
    }
    commit()
    const { data, source } = await asked
    expect(source).toBe('new')
    expect(await t.h.stored(formatToken(data.token))).toEqual(data)
  })

  it('a token whose TTL Redis has lost expires all the same, for its holder and for the cache', async () => {
    const parent = await t.parent({ endsIn: 2 * LIFE })
    const { data } = await lend(t.cache, parent)
    for (const { token } of [parent, data]) {
      expect(await t.h.redis.persist(`token:${token.key}`)).toBe(1)
    }
    t.clock.advance(LIFE)
    expect((await t.h.ask(VIEWER, { token: formatToken(data.token) })).code).toBe('UNAUTHENTICATED')
    expect((await lend(t.cache, parent)).data.token).not.toEqual(data.token)
    t.clock.advance(LIFE)
    expect((await t.h.ask(VIEWER, { token: formatToken(parent.token) })).code).toBe('UNAUTHENTICATED')
  })

  it.each([
    ['a token', async () => (await t.parent()).token],
    ['the bootstrap token', async () => parseToken(t.h.bootstrapToken)],
  ])('a presented secret is compared with that of %s in constant time', async (_what, held) => {
    const { key, secret } = await held()
    const presented = generateToken().secret
    const compared = watchComparisons()
    const token = formatToken({ key, secret: presented })
    expect((await t.h.ask(VIEWER, { token })).code).toBe('UNAUTHENTICATED')
    expect(compared.map((pair) => pair.toSorted())).toContainEqual([secret, presented].toSorted())
  })

  it('however long a minimum lifetime is requested, and however often, one request key has at most one new token in 300 s', async () => {
    const parent = await t.parent({ endsIn: 30 * 24 * LIFE })
    const wishes = [LIFE - 300, undefined, 300, HALF]
    for (let second = 0; second < LIFE; second += 100) {
      for (const minimumLifetime of wishes) await lend(t.cache, parent, 'tap', minimumLifetime)
      t.clock.advance(100)
    }
    expect((await t.children(parent)).length).toBeLessThanOrEqual(LIFE / 300)
  })

  it.each(['mutation { internalToken(service: "tap") { token } }', 'mutation { notebookToken { token } }'])(
    'nothing is delegated from an OIDC token: %s',
    async (query) => {
      const token = await plant(t.h, 'redis', { type: 'oidc' })
      const answer = await t.h.ask(query, { token })
      expect([answer.status, answer.code]).toEqual([403, 'PERMISSION_DENIED'])
      expect(await t.h.sql('SELECT FROM subtoken WHERE parent = $1', [parseToken(token).key])).toEqual([])
    },
  )
})
