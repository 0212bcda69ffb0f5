import { describe, expect, it } from 'vitest'
import { generateToken, type TokenData, type TokenKey } from '../../src/domain/token.ts'
import { plant } from '../support/porthor/planted-token.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import {
  aUsername,
  bearerOf,
  dataOf,
  dropEntry,
  historyOf,
  jsonTime,
  keyOf,
  keysOf,
  lend,
  makeAdmin,
  makeRoot,
  makeTree,
  refusalOf,
  rowsOf,
  storedOf,
} from '../support/tokens/trees.ts'

const REVOKE = 'mutation ($key: ID!) { revokeToken(key: $key) { keys } }'
const REVOKE_ALL = `mutation ($filter: RevokeTokensFilter!, $dryRun: Boolean! = false, $first: Int! = 100) {
  revokeTokens(filter: $filter, dryRun: $dryRun) { count keys(first: $first) } }`
const VIEWER = '{ viewer { token { key } } }'

describe.each(['redis', 'postgres'] as const)('over %s', (store) => {
  const t = usePorthor(store)

  const revoke = async (key: string, token = t.h.bootstrapToken) => {
    const { revokeToken } = await dataOf<{ revokeToken: { keys: TokenKey[] } }>(t.h, REVOKE, {
      token,
      variables: { key },
    })
    return revokeToken.keys
  }
  const revokeAll = async (filter: object, rest: object = {}) => {
    const { revokeTokens } = await dataOf<{ revokeTokens: { count: number; keys: TokenKey[] } }>(
      t.h,
      REVOKE_ALL,
      {
        variables: { filter, ...rest },
      },
    )
    return revokeTokens
  }
  /** Which of `tokens` are in both stores; fails where the stores do not agree. */
  const living = async (tokens: readonly TokenData[]) => {
    const stored = await storedOf(t.h, store, tokens)
    expect(Object.keys(await rowsOf(t.h, tokens)).sort()).toEqual(keysOf(stored).sort())
    return stored
  }

  describe('revokeToken', () => {
    it('revokes the whole tree at once, in both stores, and no other token', async () => {
      const { username } = await makeRoot(t.h)
      const [tree, other] = [await makeTree(t.h, { username }), await makeTree(t.h, { username })]
      const keys = await revoke(keyOf(tree.root))

      expect(keys).toHaveLength(4)
      expect([...keys].sort()).toEqual(keysOf(Object.values(tree)).sort())
      expect(await living([...Object.values(tree), ...Object.values(other)])).toEqual(Object.values(other))
      for (const dead of Object.values(tree)) {
        expect(await refusalOf(t.h, VIEWER, { token: bearerOf(dead) })).toEqual(['UNAUTHENTICATED', 401])
      }
    })

    it('returns the deepest keys first and the named one last, and writes history events in that order', async () => {
      const admin = await makeAdmin(t.h)
      const tree = await makeTree(t.h)
      const { root, child, notebook, grandchild } = tree
      const deepest = await lend(t.h, grandchild, 'deep')
      t.h.clock.advance(5)
      const keys = await revoke(keyOf(root), bearerOf(admin))

      expect(keys.slice(0, 2)).toEqual(keysOf([deepest, grandchild]))
      expect(keys.slice(2, 4).sort()).toEqual(keysOf([child, notebook]).sort())
      expect(keys.at(4)).toBe(keyOf(root))
      const history = await historyOf(t.h, [...Object.values(tree), deepest], 'revoke')
      expect(history.map(({ token }) => token)).toEqual(keys)
      const common = {
        username: root.username,
        actor: admin.username,
        ip_address: '127.0.0.1',
        event_time: jsonTime(t.h.clock.now()),
        old_token_name: null,
        old_scopes: null,
        old_expires: null,
      }
      expect(history.find(({ token }) => token === keyOf(root))).toMatchObject({
        ...common,
        token_type: 'user',
        token_name: expect.stringMatching(/./),
        parent: null,
        service: null,
        scopes: root.scopes.join(','),
        expires: null,
      })
      expect(history.find(({ token }) => token === keyOf(grandchild))).toMatchObject({
        ...common,
        token_type: 'internal',
        token_name: null,
        parent: keyOf(child),
        service: 'tap',
        scopes: 'read:all',
        expires: grandchild.expiresAt && jsonTime(grandchild.expiresAt),
      })
    })

    it('revokes a branch and leaves the rest of the tree', async () => {
      const { root, child, notebook, grandchild } = await makeTree(t.h)

      expect(await revoke(keyOf(child))).toEqual(keysOf([grandchild, child]))
      expect(await living([root, child, notebook, grandchild])).toEqual([root, notebook])
    })

    it('revokes a token that has expired and is not yet deleted', async () => {
      const root = await makeRoot(t.h, { endsIn: 300 })
      await dropEntry(t.h, store, root)
      t.h.clock.advance(301)

      expect(await revoke(keyOf(root))).toEqual([keyOf(root)])
      expect(await rowsOf(t.h, [root])).toEqual({})
    })

    it('may be called for the own tokens with user:token, including the current token', async () => {
      const { username } = await makeRoot(t.h)
      const [mine, second] = [await makeTree(t.h, { username }), await makeRoot(t.h, { username })]

      expect(await revoke(keyOf(mine.child), bearerOf(second))).toHaveLength(2)
      expect(await revoke(keyOf(mine.root), bearerOf(mine.root))).toHaveLength(2)
      expect(await living([mine.root, second])).toEqual([second])
    })

    it("without user:token is PERMISSION_DENIED for any token but the holder's, whether there is such a token or not", async () => {
      const mine = await makeRoot(t.h, { scopes: ['read:all'] })
      const other = await makeRoot(t.h, { username: mine.username })
      for (const key of [keyOf(other), generateToken().key]) {
        expect(await refusalOf(t.h, REVOKE, { token: bearerOf(mine), variables: { key } })).toEqual([
          'PERMISSION_DENIED',
          403,
        ])
      }
      expect(await living([mine, other])).toEqual([mine, other])
    })

    it("of another user's token is NOT_FOUND, with the same message as one that does not exist", async () => {
      const [mine, others] = [await makeRoot(t.h), await makeRoot(t.h)]
      const [strayKey, absent] = [await makeRoot(t.h), generateToken().key]
      await t.h.sql('DELETE FROM token WHERE token = $1', [keyOf(strayKey)])
      const ask = async (key: string) => {
        const { status, data, errors } = await t.h.ask(REVOKE, { token: bearerOf(mine), variables: { key } })
        return JSON.stringify({ status, data, errors }).replaceAll(key, 'KEY')
      }
      const answers = [await ask(keyOf(others)), await ask(keyOf(strayKey)), await ask(absent)]

      expect(new Set(answers).size).toBe(1)
      expect(answers[0]).toContain('NOT_FOUND')
      expect(await storedOf(t.h, store, [others, strayKey])).toEqual([others, strayKey])
    })

    it('a second time is NOT_FOUND', async () => {
      const root = await makeRoot(t.h)
      await revoke(keyOf(root))
      expect(await refusalOf(t.h, REVOKE, { variables: { key: keyOf(root) } })).toEqual(['NOT_FOUND', 200])
      expect(await historyOf(t.h, [root], 'revoke')).toHaveLength(1)
    })

    it.each(['', 'no such key', 'a\0b'])('of %j, which is not a token key, is NOT_FOUND', async (key) => {
      expect(await refusalOf(t.h, REVOKE, { variables: { key } })).toEqual(['NOT_FOUND', 200])
    })
  })

  describe('revokeTokens', () => {
    it('revokes what matches, with its descendants, and returns their number and keys', async () => {
      const [mine, others] = [await makeTree(t.h), await makeTree(t.h)]
      const { count, keys } = await revokeAll({ username: mine.root.username })

      expect(count).toBe(4)
      expect([...keys].sort()).toEqual(keysOf(Object.values(mine)).sort())
      expect(await living([...Object.values(mine), ...Object.values(others)])).toEqual(Object.values(others))
      expect((await historyOf(t.h, Object.values(mine), 'revoke')).map(({ token }) => token)).toEqual(keys)
      expect(keys.indexOf(keyOf(mine.grandchild))).toBeLessThan(keys.indexOf(keyOf(mine.child)))
      expect(keys.at(-1)).toBe(keyOf(mine.root))
    })

    it.each([
      ['type', () => ({ type: 'NOTEBOOK' }), ['notebook']],
      ['service', () => ({ service: 'portal' }), ['child', 'grandchild']],
      ['service, deeper', () => ({ service: 'tap' }), ['grandchild']],
      ['ancestor, itself spared', (key: string) => ({ ancestor: key }), ['child', 'notebook', 'grandchild']],
      ['ancestor and service', (key: string) => ({ ancestor: key, service: 'tap' }), ['grandchild']],
      [
        'ancestor and type, of which there is none',
        (key: string) => ({ ancestor: key, type: 'SESSION' }),
        [],
      ],
    ] as const)('finds by %s; all given criteria must match', async (_what, filterOf, doomed) => {
      const tree = await makeTree(t.h)
      const filter = { username: tree.root.username, ...filterOf(keyOf(tree.root)) }
      const { count } = await revokeAll(filter)

      expect(count).toBe(doomed.length)
      const spared = Object.entries(tree).filter(([name]) => !(doomed as readonly string[]).includes(name))
      expect(await living(Object.values(tree))).toEqual(spared.map(([, token]) => token))
    })

    it('finds tokens created before a time, but not at that time', async () => {
      const { username } = await makeRoot(t.h)
      t.h.clock.advance(10)
      const young = await makeRoot(t.h, { username })
      const { count } = await revokeAll({ username, createdBefore: young.createdAt.toISOString() })

      expect(count).toBe(1)
      expect(await living([young])).toEqual([young])
    })

    it('finds by one criterion alone, over all users', async () => {
      const service = `only-${aUsername()}`.slice(0, 64)
      const [one, two] = [await makeRoot(t.h), await makeRoot(t.h)]
      const lent = [await lend(t.h, one, service), await lend(t.h, two, service)]

      expect((await revokeAll({ service })).count).toBe(2)
      expect(await living([one, two, ...lent])).toEqual([one, two])
    })

    it('counts a token once that both matches and descends from one that does', async () => {
      const { root } = await makeTree(t.h)
      const dry = await revokeAll({ username: root.username }, { dryRun: true })
      expect(dry.count).toBe(4)
      expect(new Set(dry.keys).size).toBe(4)
      expect((await revokeAll({ username: root.username })).count).toBe(4)
    })

    it('returns as many keys as requested, and counts all', async () => {
      const { root } = await makeTree(t.h)
      const filter = { username: root.username }
      for (const first of [0, 1, 3, 4, 10_000]) {
        const { count, keys } = await revokeAll(filter, { dryRun: true, first })
        expect([count, keys.length]).toEqual([4, Math.min(first, 4)])
      }
      const { count, keys } = await revokeAll(filter, { first: 1 })
      expect([count, keys.length]).toEqual([4, 1])
    })

    it.each([-1, 10_001])('refuses %i keys with INVALID_PAGE_SIZE, and revokes nothing', async (first) => {
      const root = await makeRoot(t.h)
      const { username } = root
      for (const dryRun of [true, false]) {
        const variables = { filter: { username }, dryRun, first }
        expect(await refusalOf(t.h, REVOKE_ALL, { variables })).toEqual(['INVALID_PAGE_SIZE', 200])
      }
      const nested = `fragment Keys on RevokeTokensPayload { ... { few: keys many: keys(first: ${first}) } }
        mutation { revokeTokens(filter: {username: "${username}"}) { count ...Keys } }`
      expect(await refusalOf(t.h, nested)).toEqual(['INVALID_PAGE_SIZE', 200])
      expect(await living([root])).toEqual([root])
    })

    it('only counts in a dry run', async () => {
      const tree = await makeTree(t.h)
      const { count, keys } = await revokeAll({ ancestor: keyOf(tree.root) }, { dryRun: true })

      expect(count).toBe(3)
      expect([...keys].sort()).toEqual(keysOf([tree.child, tree.notebook, tree.grandchild]).sort())
      expect(await living(Object.values(tree))).toEqual(Object.values(tree))
      expect(await historyOf(t.h, Object.values(tree), 'revoke')).toEqual([])
    })

    it.each([{}, { username: null }, { username: null, ancestor: null, createdBefore: null }])(
      'without a criterion is INVALID_FILTER, also in a dry run: %j',
      async (filter) => {
        const root = await makeRoot(t.h)
        for (const dryRun of [false, true]) {
          expect(await refusalOf(t.h, REVOKE_ALL, { variables: { filter, dryRun } })).toEqual([
            'INVALID_FILTER',
            200,
          ])
        }
        expect(await living([root])).toEqual([root])
      },
    )

    it.each(['username', 'service', 'ancestor'])(
      'by a %s with a NUL in it is INVALID_FILTER',
      async (name) => {
        for (const dryRun of [false, true]) {
          const variables = { filter: { [name]: 'a\0b' }, dryRun }
          expect(await refusalOf(t.h, REVOKE_ALL, { variables })).toEqual(['INVALID_FILTER', 200])
        }
      },
    )

    it('is for admins only, also for the own tokens and in a dry run', async () => {
      const root = await makeRoot(t.h)
      for (const dryRun of [false, true]) {
        const variables = { filter: { username: root.username }, dryRun }
        expect(await refusalOf(t.h, REVOKE_ALL, { token: bearerOf(root), variables })).toEqual([
          'PERMISSION_DENIED',
          403,
        ])
      }
      expect(await living([root])).toEqual([root])
    })
  })

  it('a token of type OIDC, which Gafaelfawr issued, is shown and revoked, and is no current token', async () => {
    const mine = await makeRoot(t.h)
    const bearer = await plant(t.h, store, { type: 'oidc', username: mine.username, endsIn: 86_400 })
    const key = bearer.slice('gt-'.length).split('.')[0] ?? ''
    const show = 'query ($key: ID!) { token(key: $key) { type username } }'

    expect(await dataOf(t.h, show, { token: bearerOf(mine), variables: { key } })).toEqual({
      token: { type: 'OIDC', username: mine.username },
    })
    expect(await refusalOf(t.h, VIEWER, { token: bearer })).toEqual(['PERMISSION_DENIED', 403])
    expect(await revoke(key, bearerOf(mine))).toEqual([key])
    expect(await refusalOf(t.h, VIEWER, { token: bearer })).toEqual(['UNAUTHENTICATED', 401])
  })
})
