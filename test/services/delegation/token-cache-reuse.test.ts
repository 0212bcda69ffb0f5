import { describe, expect, it, onTestFinished } from 'vitest'
import { formatToken, generateToken, type TokenData } from '../../../src/domain/token.ts'
import { generateFernetKey } from '../../../src/lib/fernet.ts'
import type {
  DelegatedToken,
  TokenCacheService,
} from '../../../src/services/delegation/token-cache-service.ts'
import { IP, LIFE, SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'

const HALF = LIFE / 2

const bearer = ({ data }: DelegatedToken): string => formatToken(data.token)

const internal = (
  cache: TokenCacheService,
  parent: TokenData,
  minimumLifetime?: number,
  scopes: readonly string[] = ['read:all'],
): Promise<DelegatedToken> => cache.getInternalToken(parent, 'tap', scopes, IP, { minimumLifetime })

const notebook = (
  cache: TokenCacheService,
  parent: TokenData,
  minimumLifetime?: number,
): Promise<DelegatedToken> => cache.getNotebookToken(parent, IP, { minimumLifetime })

describe.each(['redis', 'postgres'] as const)('the token cache over %s', (store) => {
  const t = usePorthor(store, { ...SHORT_LIVED, TOKEN_LIFETIME: '30d' })

  describe('rule 1: the cache key is the parent and its expiry, and for internal tokens the service and scopes:', () => {
    it('each request key gets its own token, and then that token again', async () => {
      const parent = await t.parent()
      const other = await t.parent({ username: parent.username })
      const wishes = [
        () => t.cache.getInternalToken(parent, 'tap', ['read:all'], IP),
        () => t.cache.getInternalToken(parent, 'tap', ['read:all', 'read:tap'], IP),
        () => t.cache.getInternalToken(parent, 'tap', [], IP),
        () => t.cache.getInternalToken(parent, 'portal', ['read:all'], IP),
        () => t.cache.getInternalToken(other, 'tap', ['read:all'], IP),
        () => t.cache.getNotebookToken(parent, IP),
        () => t.cache.getNotebookToken(other, IP),
      ]
      const first = []
      for (const wish of wishes) first.push(await wish())
      expect(new Set(first.map(bearer)).size).toBe(wishes.length)

      const second = []
      for (const wish of wishes) second.push(await wish())
      expect(second).toEqual(first.map(({ data }) => ({ data, source: 'cache' })))
    })

    it('scopes are a set: neither order nor repetition changes the request key', async () => {
      const parent = await t.parent()
      const { data } = await internal(t.cache, parent, undefined, ['read:tap', 'read:all'])
      const again = await internal(t.cache, parent, undefined, ['read:all', 'read:tap', 'read:all'])
      expect(again).toEqual({ data, source: 'cache' })
    })

    it.each([
      ['prolonged', 24 * LIFE],
      ['freed of its end', null],
    ])('a parent that was %s gets the longer-lived child that is now possible', async (_what, endsIn) => {
      const parent = await t.parent({ endsIn: 400 })
      await internal(t.cache, parent)
      const longer = await internal(t.cache, await t.edit(parent, { endsIn }))
      expect(longer.source).toBe('new')
      expect(longer.data.expiresAt.getTime() - t.clock.now().getTime()).toBe(LIFE * 1000)
    })
  })

  describe('rule 2: a cached token is reused only if its record, its scopes and its remaining lifetime allow it:', () => {
    it.each([
      ['internal', internal],
      ['notebook', notebook],
    ])(
      'a token is reused until half of its lifetime has passed, and replaced a second later: %s',
      async (_, ask) => {
        const parent = await t.parent()
        const first = await ask(t.cache, parent)
        t.clock.advance(HALF)
        expect(await ask(t.cache, parent)).toEqual({ data: first.data, source: 'cache' })
        t.clock.advance(1)
        const next = await ask(t.cache, parent)
        expect(next.source).toBe('new')
        expect(await ask(t.cache, parent)).toEqual({ data: next.data, source: 'cache' })
      },
    )

    it('half of the lifetime is the minimum over GraphQL too, where no minimumLifetime is given', async () => {
      const token = formatToken((await t.parent()).token)
      const source = async () => {
        const { data } = await t.h.ask('mutation { internalToken(service: "tap") { source } }', { token })
        return data?.internalToken
      }
      expect(await source()).toEqual({ source: 'NEW' })
      t.clock.advance(HALF)
      expect(await source()).toEqual({ source: 'CACHE' })
      t.clock.advance(1)
      expect(await source()).toEqual({ source: 'NEW' })
    })

    it('a minimum lifetime replaces half of the lifetime, and may be shorter', async () => {
      const parent = await t.parent()
      const { data } = await internal(t.cache, parent)
      t.clock.advance(LIFE - 300)
      expect(await internal(t.cache, parent, 300)).toEqual({ data, source: 'cache' })
    })

    it('a minimum lifetime replaces half of the lifetime, and may be longer', async () => {
      const parent = await t.parent()
      const { data } = await internal(t.cache, parent)
      t.clock.advance(600)
      expect(await internal(t.cache, parent, LIFE - 600)).toEqual({ data, source: 'cache' })
      expect(await internal(t.cache, parent, LIFE - 599)).toMatchObject({ source: 'new' })
    })

    it.each([
      ['internal', internal],
      ['notebook', notebook],
    ])('a child that expires with its parent is reused after half of its lifetime: %s', async (_, ask) => {
      const parent = await t.parent({ endsIn: LIFE - 1 })
      const { data } = await ask(t.cache, parent)
      expect(data.expiresAt).toEqual(parent.expiresAt)
      t.clock.advance(LIFE - 1 - 300)
      // From the cache: to find the same child in the database each time would be waste.
      expect(await ask(t.cache, parent)).toEqual({ data, source: 'cache' })
    })

    it('a token whose record is deleted is not reused', async () => {
      const parent = await t.parent()
      const first = await internal(t.cache, parent)
      await t.tokens.delete([first.data.token.key])
      const next = await internal(t.cache, parent)
      expect(next.source).toBe('new')
      expect(bearer(next)).not.toBe(bearer(first))
    })

    it('a token whose record has another secret is not reused', async () => {
      const parent = await t.parent()
      const { data } = await internal(t.cache, parent)
      const changed = { ...data, token: { ...data.token, secret: generateToken().secret } }
      await t.tokens.put(changed)
      expect(await internal(t.cache, parent)).toEqual({ data: changed, source: 'database' })
    })

    it.each([
      ['another type', { type: 'session' as const }],
      ['more scopes than requested', { scopes: ['read:all', 'read:tap'] }],
      ['a scope that was not requested', { scopes: ['read:tap'] }],
      ['no expiry', { expiresAt: null }],
    ])('a token whose record has %s is not reused', async (_what, facts) => {
      const parent = await t.parent()
      const { data } = await internal(t.cache, parent)
      await t.tokens.put({ ...data, ...facts } as TokenData)
      expect(await internal(t.cache, parent)).toMatchObject({ source: 'new', data: { scopes: ['read:all'] } })
    })

    it('a child has exactly the requested scopes, in every process, after its parent was narrowed and widened again', async () => {
      const other = t.anotherProcess()
      const parent = await t.parent()
      const { data } = await internal(t.cache, parent)
      expect(await internal(other, parent)).toMatchObject({ source: 'database' })
      const narrowed = await t.edit(data, { scopes: [] })

      const wide = await internal(t.cache, parent)
      expect(wide).toMatchObject({ source: 'new', data: { scopes: ['read:all'] } })
      expect(await internal(other, parent)).toEqual({ data: wide.data, source: 'database' })
      expect(await internal(t.cache, parent)).toEqual({ data: wide.data, source: 'cache' })
      for (const cache of [t.cache, other]) {
        expect(await cache.getInternalToken(parent, 'tap', [], IP)).toEqual({
          data: narrowed,
          source: 'database',
        })
      }
      expect(await t.children(parent)).toHaveLength(2)
    })

    it.each([
      ['lost', ['read:all']],
      ['gained', ['read:all', 'read:tap', 'exec:notebook']],
    ])('a notebook token is not reused when its parent has %s a scope', async (_what, scopes) => {
      const parent = await t.parent()
      await notebook(t.cache, parent)
      const edited = await t.edit(parent, { scopes })
      const next = await notebook(t.cache, edited)
      expect(next).toMatchObject({ source: 'new', data: { scopes: edited.scopes } })
      expect(await notebook(t.cache, edited)).toEqual({ data: next.data, source: 'cache' })
    })

    it('a reuse reads no table of tokens', async () => {
      const parent = await t.parent()
      const wishes = [() => internal(t.cache, parent), () => notebook(t.cache, parent)]
      for (const wish of wishes) await wish()
      const other = await t.connect()
      await other.query('BEGIN; LOCK TABLE token, subtoken, token_change_history IN ACCESS EXCLUSIVE MODE')
      for (const wish of wishes) expect(await wish()).toMatchObject({ source: 'cache' })
      await other.query('ROLLBACK')
    })
  })

  describe('rule 3: a match in the database is a live child with the same request key and enough remaining lifetime:', () => {
    it.each([
      ['internal', internal],
      ['notebook', notebook],
    ])('a token that another process issued is found: %s', async (_, ask) => {
      const parent = await t.parent()
      const { data } = await ask(t.anotherProcess(), parent)
      expect(await ask(t.cache, parent)).toEqual({ data, source: 'database' })
      expect(await ask(t.cache, parent)).toEqual({ data, source: 'cache' })
    })

    it.each<[string, { service?: string; scopes?: string[] }]>([
      ['another parent', {}],
      ['another service', { service: 'portal' }],
      ['fewer scopes', { scopes: [] }],
      ['more scopes', { scopes: ['read:all', 'read:tap'] }],
      ['other scopes', { scopes: ['read:tap'] }],
    ])('a child of %s is not a match', async (what, { service = 'tap', scopes = ['read:all'] }) => {
      const parent = await t.parent()
      const other = what === 'another parent' ? await t.parent({ username: parent.username }) : parent
      await t.cache.getInternalToken(other, service, scopes, IP)
      expect(await internal(t.cache, parent)).toMatchObject({
        source: 'new',
        data: { service: 'tap', scopes: ['read:all'] },
      })
    })

    it('an internal token and a notebook token do not match each other', async () => {
      const parent = await t.parent({ scopes: ['read:all'] })
      const lent = await internal(t.cache, parent)
      const own = await notebook(t.cache, parent)
      expect(own).toMatchObject({ source: 'new', data: { type: 'notebook' } })
      t.cache.clear()
      expect(await internal(t.cache, parent)).toEqual({ data: lent.data, source: 'database' })
      expect(await notebook(t.cache, parent)).toEqual({ data: own.data, source: 'database' })
    })

    it('a notebook token matches the scopes of its parent as they are now', async () => {
      const parent = await t.parent({ scopes: ['read:all', 'read:tap'] })
      const before = await notebook(t.cache, parent)
      const edited = await t.edit(parent, { scopes: ['read:all'] })
      t.cache.clear()
      const after = await notebook(t.cache, edited)
      expect(after).toMatchObject({ source: 'new', data: { scopes: ['read:all'] } })

      const restored = await t.edit(edited, { scopes: ['read:all', 'read:tap'] })
      t.cache.clear()
      expect(await notebook(t.cache, restored)).toEqual({ data: before.data, source: 'database' })
    })

    it('it expires after at least half of the delegated lifetime from now', async () => {
      const parent = await t.parent()
      const { data } = await internal(t.cache, parent)
      t.clock.advance(HALF)
      t.cache.clear()
      expect(await internal(t.cache, parent)).toEqual({ data, source: 'database' })
      t.clock.advance(1)
      t.cache.clear()
      expect(await internal(t.cache, parent)).toMatchObject({ source: 'new' })
    })

    it('where a minimum lifetime is given, it expires after at least that time from now', async () => {
      const parent = await t.parent()
      const { data } = await internal(t.cache, parent)
      t.clock.advance(LIFE - 600)
      t.cache.clear()
      expect(await internal(t.cache, parent, 600)).toEqual({ data, source: 'database' })
      t.cache.clear()
      expect(await internal(t.cache, parent, 601)).toMatchObject({ source: 'new' })
    })

    it('it may expire with its parent, however soon that is', async () => {
      const parent = await t.parent({ endsIn: HALF })
      const { data } = await internal(t.cache, parent)
      t.clock.advance(HALF - 300)
      t.cache.clear()
      expect(await internal(t.cache, parent)).toEqual({ data, source: 'database' })
    })

    it('the longest-lived match is reused, whether or not it is the newest', async () => {
      const parent = await t.parent()
      const older = await internal(t.cache, parent)
      t.clock.advance(600)
      const newer = await internal(t.cache, parent, LIFE - 300)
      expect(newer.source).toBe('new')
      t.cache.clear()
      expect(await internal(t.cache, parent)).toEqual({ data: newer.data, source: 'database' })

      await t.edit(newer.data, { endsIn: HALF + 300 })
      t.cache.clear()
      expect(await internal(t.cache, parent)).toEqual({ data: older.data, source: 'database' })
    })

    it.each<[string, ((data: DelegatedToken['data']) => object) | undefined]>([
      ['does not have', undefined],
      [
        'has with an earlier expiry',
        ({ expiresAt }) => ({ expiresAt: new Date(expiresAt.getTime() - 1000) }),
      ],
      ['has with a later expiry', ({ expiresAt }) => ({ expiresAt: new Date(expiresAt.getTime() + 1000) })],
      ['has without an expiry', () => ({ expiresAt: null })],
      ['has with other scopes', () => ({ scopes: ['read:tap'] })],
      ['has for another service', () => ({ service: 'portal' })],
      ['has for another user', () => ({ username: 'somebody-else' })],
      ['has as another type', () => ({ type: 'notebook' })],
    ])('a match that the token store %s is skipped for the next one', async (_what, change) => {
      const parent = await t.parent()
      const older = await internal(t.cache, parent)
      t.clock.advance(600)
      const { data } = await internal(t.cache, parent, LIFE - 300)
      if (change) await t.tokens.put({ ...data, ...change(data) } as TokenData)
      else await t.tokens.delete([data.token.key])
      t.cache.clear()
      expect(await internal(t.cache, parent)).toEqual({ data: older.data, source: 'database' })
    })

    it('a notebook token whose record has another type is not a match', async () => {
      const parent = await t.parent()
      const { data } = await notebook(t.cache, parent)
      await t.tokens.put({ ...data, type: 'session' })
      t.cache.clear()
      expect(await notebook(t.cache, parent)).toMatchObject({ source: 'new', data: { type: 'notebook' } })
    })

    it('a token from before a restart is found, also after a new encryption key was put first', async () => {
      const parent = await t.parent()
      const { data } = await internal(t.cache, parent)
      onTestFinished(() => t.h.restart())
      for (const secrets of [[], [generateFernetKey()]]) {
        await t.h.restart({ SESSION_SECRET: [...secrets, t.h.env.SESSION_SECRET].join(',') })
        expect(await t.h.stored(formatToken(parent.token))).toEqual(parent)
        expect(await internal(t.cache, parent)).toEqual({ data, source: 'database' })
      }
    })

    it.each([
      ['internal', internal],
      ['notebook', notebook],
    ])(
      'a child that would expire after its parent, as a race in Gafaelfawr may leave one, is not a match: %s',
      async (_, ask) => {
        const parent = await t.parent()
        await ask(t.cache, parent)
        const shortened = await t.edit(parent, { endsIn: HALF })
        const next = await ask(t.cache, shortened)
        expect(next).toMatchObject({ source: 'new', data: { expiresAt: shortened.expiresAt } })
        t.cache.clear()
        expect(await ask(t.cache, shortened)).toEqual({ data: next.data, source: 'database' })
      },
    )

    it('a row whose record is deleted is replaced once, and not a second time', async () => {
      const parent = await t.parent()
      await t.tokens.delete([(await internal(t.cache, parent)).data.token.key])
      const { data } = await internal(t.cache, parent)
      for (let repeat = 0; repeat < 3; repeat += 1) {
        t.cache.clear()
        expect(await internal(t.cache, parent)).toEqual({ data, source: 'database' })
      }
      expect(await t.children(parent)).toHaveLength(2)
    })
  })
})

describe('rule 10: the caches are bounded, and keep the most recently used entries:', () => {
  const t = usePorthor('redis', { ...SHORT_LIVED, TOKEN_CACHE_SIZE: '2' })
  const sourceFor = async (parent: TokenData, service: string) =>
    (await t.cache.getInternalToken(parent, service, [], IP)).source

  it('the least recently used token is evicted', async () => {
    const parent = await t.parent()
    for (const service of ['a', 'b', 'a', 'c']) await sourceFor(parent, service)
    expect(await sourceFor(parent, 'a')).toBe('cache')
    expect(await sourceFor(parent, 'c')).toBe('cache')
    expect(await sourceFor(parent, 'b')).toBe('database')
  })

  it('notebook tokens evict no internal tokens', async () => {
    const parent = await t.parent()
    await sourceFor(parent, 'a')
    for (let other = 0; other < 3; other += 1) await notebook(t.cache, await t.parent())
    expect(await sourceFor(parent, 'a')).toBe('cache')
  })

  it('clearing empties both caches, returns their sizes, and revokes nothing', async () => {
    t.cache.clear()
    const parent = await t.parent()
    for (const service of ['a', 'b', 'c']) await sourceFor(parent, service)
    const { data } = await notebook(t.cache, parent)
    expect(t.cache.clear()).toEqual({ internal: 2, notebook: 1 })
    expect(t.cache.clear()).toEqual({ internal: 0, notebook: 0 })
    expect(await notebook(t.cache, parent)).toEqual({ data, source: 'database' })
    expect(await sourceFor(parent, 'c')).toBe('database')
  })
})
