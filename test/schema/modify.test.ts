import { describe, expect, it } from 'vitest'
import { generateToken, type TokenData } from '../../src/domain/token.ts'
import { plant } from '../support/porthor/planted-token.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import {
  aUsername,
  bearerOf,
  dataOf,
  documentOf,
  historyOf,
  jsonTime,
  keyOf,
  lend,
  makeAdmin,
  makeRoot,
  makeTree,
  refusalOf,
  rowsOf,
} from '../support/tokens/trees.ts'

const MODIFY = `mutation ($key: ID!, $input: ModifyTokenInput!) {
  modifyToken(key: $key, input: $input) { key tokenName scopes expiresAt children { nodes { scopes expiresAt } } } }`

describe.each(['redis', 'postgres'] as const)('modifyToken over %s', (store) => {
  const t = usePorthor(store)

  const inSeconds = (seconds: number) => new Date(t.h.clock.now().getTime() + seconds * 1000)
  const iso = (seconds: number) => inSeconds(seconds).toISOString()

  const modify = async (token: TokenData, input: object, as?: TokenData) => {
    const { modifyToken } = await dataOf<{ modifyToken: object }>(t.h, MODIFY, {
      ...(as && { token: bearerOf(as) }),
      variables: { key: keyOf(token), input },
    })
    return modifyToken
  }
  const refusal = (key: string, input: object, token = t.h.bootstrapToken) =>
    refusalOf(t.h, MODIFY, { token, variables: { key, input } })

  /** All that both stores and the history say of `tokens`. */
  const everything = async (...tokens: TokenData[]) => ({
    rows: await rowsOf(t.h, tokens),
    documents: await Promise.all(tokens.map((token) => documentOf(t.h, store, token))),
    history: await historyOf(t.h, tokens),
  })
  const parsed = async (token: TokenData) => JSON.parse((await documentOf(t.h, store, token)) ?? 'null')

  it('changes the name alone', async () => {
    const root = await makeRoot(t.h, { tokenName: 'laptop', endsIn: 86_400 })
    const before = await everything(root)
    expect(await modify(root, { tokenName: 'desk' })).toMatchObject({
      tokenName: 'desk',
      scopes: root.scopes,
      expiresAt: root.expiresAt?.toISOString(),
    })
    const after = await everything(root)

    expect(after.rows[keyOf(root)]).toEqual({ ...before.rows[keyOf(root)], token_name: 'desk' })
    expect(after.documents).toEqual(before.documents)
    expect(after.history.at(-1)).toMatchObject({
      action: 'edit',
      token_name: 'desk',
      old_token_name: 'laptop',
      old_scopes: null,
      old_expires: null,
      scopes: root.scopes.join(','),
      expires: root.expiresAt && jsonTime(root.expiresAt),
    })
  })

  it('changes the scopes alone, in both stores, sorted and without duplicates', async () => {
    const root = await makeRoot(t.h, { scopes: ['read:all'], endsIn: 86_400 })
    const before = await everything(root)
    const scopes = ['user:token', 'exec:notebook', 'user:token']
    expect(await modify(root, { scopes })).toMatchObject({ scopes: ['exec:notebook', 'user:token'] })
    const after = await everything(root)

    expect(after.rows[keyOf(root)]).toEqual({
      ...before.rows[keyOf(root)],
      scopes: 'exec:notebook,user:token',
    })
    expect(after.documents).toEqual([
      before.documents[0]?.replace('["read:all"]', '["exec:notebook","user:token"]'),
    ])
    expect(after.history.at(-1)).toMatchObject({
      scopes: 'exec:notebook,user:token',
      old_scopes: 'read:all',
      old_token_name: null,
      old_expires: null,
    })
    expect((await t.h.stored(bearerOf(root))).scopes).toEqual(['exec:notebook', 'user:token'])
  })

  it.each([
    ['sooner', 86_400, 3_600],
    ['later', 3_600, 86_400],
    ['where there was none', null, 3_600],
  ])('changes the expiry alone, in both stores: %s', async (_what, endsIn, seconds) => {
    const root = await makeRoot(t.h, { endsIn })
    const before = await everything(root)
    expect(await modify(root, { expiresAt: iso(seconds) })).toMatchObject({ expiresAt: iso(seconds) })
    const after = await everything(root)

    const expires = jsonTime(inSeconds(seconds))
    expect(after.rows[keyOf(root)]).toEqual({ ...before.rows[keyOf(root)], expires })
    expect(await parsed(root)).toEqual({
      ...JSON.parse(before.documents[0] ?? ''),
      expires: inSeconds(seconds).getTime() / 1000,
    })
    if (store === 'redis') {
      const ttl = await t.h.redis.ttl(`token:${keyOf(root)}`)
      expect([seconds, seconds - 1, seconds - 2]).toContain(ttl)
    }
    expect(after.history.at(-1)).toMatchObject({
      expires,
      old_expires: endsIn === null ? null : jsonTime(inSeconds(endsIn)),
      old_scopes: null,
    })
  })

  it('removes the expiry, and with it the TTL', async () => {
    const root = await makeRoot(t.h, { endsIn: 3_600 })
    expect(await modify(root, { noExpire: true })).toMatchObject({ expiresAt: null })

    expect((await rowsOf(t.h, [root]))[keyOf(root)]).toMatchObject({ expires: null })
    expect(await parsed(root)).toMatchObject({ expires: null })
    if (store === 'redis') expect(await t.h.redis.ttl(`token:${keyOf(root)}`)).toBe(-1)
    t.h.clock.advance(3_601)
    expect((await t.h.stored(bearerOf(root))).expiresAt).toBeNull()
  })

  it('changes all at once, with one `edit` event that has the actor and the address', async () => {
    const admin = await makeAdmin(t.h)
    const root = await makeRoot(t.h, { tokenName: 'laptop', endsIn: 86_400, scopes: ['read:all'] })
    await modify(root, { tokenName: 'desk', scopes: [], expiresAt: iso(3_600) }, admin)
    const edits = await historyOf(t.h, [root], 'edit')

    expect(edits).toEqual([
      {
        id: expect.any(Number),
        token: keyOf(root),
        username: root.username,
        token_type: 'user',
        token_name: 'desk',
        parent: null,
        scopes: '',
        service: null,
        expires: jsonTime(inSeconds(3_600)),
        actor: admin.username,
        action: 'edit',
        old_token_name: 'laptop',
        old_scopes: 'read:all',
        old_expires: jsonTime(inSeconds(86_400)),
        ip_address: '127.0.0.1',
        event_time: jsonTime(inSeconds(0)),
      },
    ])
  })

  it.each([{}, { tokenName: null, scopes: null, expiresAt: null, noExpire: null }, { noExpire: false }])(
    'changes nothing that is not mentioned: %j',
    async (input) => {
      const root = await makeRoot(t.h, { endsIn: 86_400 })
      const before = await everything(root)
      expect(await modify(root, input)).toMatchObject({ key: keyOf(root), scopes: root.scopes })
      expect(await everything(root)).toEqual(before)
    },
  )

  it('an empty list of scopes removes all, in both stores and the history', async () => {
    const root = await makeRoot(t.h, { scopes: ['read:all', 'user:token'] })
    expect(await modify(root, { scopes: [] })).toMatchObject({ scopes: [] })

    expect((await rowsOf(t.h, [root]))[keyOf(root)]).toMatchObject({ scopes: '' })
    expect(await parsed(root)).toMatchObject({ scopes: [] })
    expect(await historyOf(t.h, [root], 'edit')).toMatchObject([
      { scopes: '', old_scopes: 'read:all,user:token' },
    ])
    await modify(root, { scopes: ['read:tap'] })
    expect(await historyOf(t.h, [root], 'edit')).toMatchObject([{}, { scopes: 'read:tap', old_scopes: '' }])
  })

  it('an expiry within a second is stored as the beginning of that second, in both stores and the history', async () => {
    const root = await makeRoot(t.h)
    const end = inSeconds(3_600)
    const answer = await modify(root, { expiresAt: new Date(end.getTime() + 999).toISOString() })

    expect(answer).toMatchObject({ expiresAt: end.toISOString() })
    const [row] = await t.h.sql(
      `SELECT token.expires = date_trunc('second', token.expires) AS whole, token.expires = change.expires AS same
       FROM token JOIN token_change_history AS change USING (token) WHERE token = $1 AND action = 'edit'`,
      [keyOf(root)],
    )
    expect(row).toEqual({ whole: true, same: true })
    expect(await parsed(root)).toMatchObject({ expires: end.getTime() / 1000 })
  })

  describe('reaches descendants', () => {
    it('narrowed scopes narrow every descendant, with an `edit` event each', async () => {
      const tree = await makeTree(t.h, { endsIn: 86_400 })
      const { root, child, notebook, grandchild } = tree
      const untouched = await lend(t.h, root, 'empty', [])
      const answer = await modify(root, { scopes: ['read:tap', 'user:token'] })

      const scopesOf = async (token: TokenData) => [
        (await rowsOf(t.h, [token]))[keyOf(token)]?.scopes,
        (await parsed(token)).scopes.join(','),
      ]
      expect(await scopesOf(child)).toEqual(['read:tap', 'read:tap'])
      expect(await scopesOf(notebook)).toEqual(['read:tap,user:token', 'read:tap,user:token'])
      expect(await scopesOf(grandchild)).toEqual(['', ''])
      expect(answer).toMatchObject({
        children: {
          nodes: expect.arrayContaining([{ scopes: ['read:tap'], expiresAt: expect.any(String) }]),
        },
      })
      const common = { actor: '<bootstrap>', token_name: null, old_token_name: null, old_expires: null }
      const edits = await historyOf(t.h, [child, notebook, grandchild, untouched], 'edit')
      expect(edits).toHaveLength(3)
      expect(edits).toEqual(
        expect.arrayContaining([
          expect.objectContaining({
            ...common,
            token: keyOf(child),
            parent: keyOf(root),
            service: 'portal',
            scopes: 'read:tap',
            old_scopes: 'read:all,read:tap',
            expires: child.expiresAt && jsonTime(child.expiresAt),
          }),
          expect.objectContaining({
            ...common,
            token: keyOf(grandchild),
            parent: keyOf(child),
            service: 'tap',
            scopes: '',
            old_scopes: 'read:all',
          }),
          expect.objectContaining({ ...common, token: keyOf(notebook), parent: keyOf(root), service: null }),
        ]),
      )
      expect(await refusalOf(t.h, '{ tokens { totalCount } }', { token: bearerOf(child) })).toEqual([
        'PERMISSION_DENIED',
        403,
      ])
    })

    it('an earlier expiry shortens every descendant that would expire later, with an `edit` event each, and no other', async () => {
      const root = await makeRoot(t.h, { endsIn: 86_400 })
      const [long, short] = [await lend(t.h, root, 'long'), await lend(t.h, root, 'short')]
      const deep = await lend(t.h, long, 'deep')
      const early = inSeconds(1_800)
      await t.h.sql('UPDATE token SET expires = $2 WHERE token = $1', [keyOf(short), jsonTime(early)])
      await modify(root, { expiresAt: iso(3_600) })

      const rows = await rowsOf(t.h, [root, long, short, deep])
      const end = jsonTime(inSeconds(3_600))
      expect([root, long, short, deep].map((token) => rows[keyOf(token)]?.expires)).toEqual([
        end,
        end,
        jsonTime(early),
        end,
      ])
      for (const token of [long, deep]) {
        expect(await parsed(token)).toMatchObject({ expires: inSeconds(3_600).getTime() / 1000 })
      }
      expect(await historyOf(t.h, [long, short, deep], 'edit')).toMatchObject([
        { token: keyOf(long), expires: end, old_expires: jsonTime(inSeconds(86_400)), old_scopes: null },
        { token: keyOf(deep), expires: end, old_expires: jsonTime(inSeconds(86_400)), old_scopes: null },
      ])
    })

    it('a later expiry, more scopes or a name change no descendant', async () => {
      const { root, child, notebook, grandchild } = await makeTree(t.h, {
        endsIn: 3_600,
        scopes: ['read:all', 'read:tap'],
      })
      const below = [child, notebook, grandchild]
      const before = await everything(...below)
      await modify(root, {
        expiresAt: iso(86_400),
        scopes: ['read:all', 'read:tap', 'user:token'],
        tokenName: 'desk',
      })
      await modify(root, { noExpire: true })
      expect(await everything(...below)).toEqual(before)
    })

    it('changes of a descendant only the attribute that the edit is about, and grants nothing new', async () => {
      const { root, child } = await makeTree(t.h, { endsIn: 86_400 })
      await modify(root, { scopes: ['read:tap'], expiresAt: iso(172_800) })

      expect((await rowsOf(t.h, [child]))[keyOf(child)]).toMatchObject({
        scopes: 'read:tap',
        expires: child.expiresAt && jsonTime(child.expiresAt),
      })
      expect(await historyOf(t.h, [child], 'edit')).toMatchObject([{ old_expires: null }])
    })
  })

  describe('is refused', () => {
    it.each([
      ['an empty name', { tokenName: '' }, 'INVALID_TOKEN_NAME'],
      ['a name of 65 characters', { tokenName: 'x'.repeat(65) }, 'INVALID_TOKEN_NAME'],
      ['a NUL in a name', { tokenName: 'a\0b' }, 'INVALID_TOKEN_NAME'],
      ['a scope that nobody knows', { scopes: ['read:all', 'nope'] }, 'INVALID_SCOPES'],
      ['an end and none', { expiresAt: '2100-01-01T00:00:00Z', noExpire: true }, 'INVALID_EXPIRES'],
      ['an end in the past', { expiresAt: '2020-01-01T00:00:00Z' }, 'INVALID_EXPIRES'],
    ])('%s', async (_what, input, code) => {
      const root = await makeRoot(t.h, { endsIn: 86_400 })
      const before = await everything(root)
      expect(await refusal(keyOf(root), input)).toEqual([code, 200])
      expect(await everything(root)).toEqual(before)
    })

    it('an expiry less than 300 s ahead, but not a later one', async () => {
      const root = await makeRoot(t.h)
      expect(await refusal(keyOf(root), { expiresAt: iso(299.9) })).toEqual(['INVALID_EXPIRES', 200])
      expect(await modify(root, { expiresAt: iso(300) })).toMatchObject({ expiresAt: iso(300) })
    })

    it('for callers who are not admins, also for their own token', async () => {
      const [mine, others] = [await makeRoot(t.h), await makeRoot(t.h)]
      const before = await everything(mine, others)
      for (const key of [keyOf(mine), keyOf(others), generateToken().key]) {
        expect(await refusal(key, { tokenName: 'x' }, bearerOf(mine))).toEqual(['PERMISSION_DENIED', 403])
      }
      expect(await everything(mine, others)).toEqual(before)
    })

    it.each(['session', 'notebook', 'service', 'oidc'] as const)(
      'for a %s token, even where nothing is mentioned',
      async (type) => {
        const username = type === 'service' ? 'bot-ci' : aUsername()
        const bearer = await plant(t.h, store, { type, username })
        const key = bearer.slice('gt-'.length).split('.')[0] ?? ''
        expect(await refusal(key, { scopes: [] })).toEqual(['PERMISSION_DENIED', 403])
        expect(await refusal(key, {})).toEqual(['PERMISSION_DENIED', 403])
      },
    )

    it('for an internal token', async () => {
      const { child } = await makeTree(t.h)
      expect(await refusal(keyOf(child), { scopes: [] })).toEqual(['PERMISSION_DENIED', 403])
    })

    it.each([generateToken().key, '', 'a\0b'])('for %j, which is no token: NOT_FOUND', async (key) => {
      expect(await refusal(key, { tokenName: 'x' })).toEqual(['NOT_FOUND', 200])
      expect(await refusal(key, {})).toEqual(['NOT_FOUND', 200])
    })

    it("a name that another token of the same user has, but not its own name or one of another user's token", async () => {
      const mine = await makeRoot(t.h, { tokenName: 'laptop' })
      await makeRoot(t.h, { tokenName: 'desk' })
      const rival = await makeRoot(t.h, { username: mine.username, tokenName: 'phone' })
      const before = await everything(mine, rival)

      expect(await refusal(keyOf(mine), { tokenName: 'phone', scopes: [] })).toEqual([
        'DUPLICATE_TOKEN_NAME',
        200,
      ])
      expect(await everything(mine, rival)).toEqual(before)
      expect(await modify(mine, { tokenName: 'desk' })).toMatchObject({ tokenName: 'desk' })
      expect(await modify(mine, { tokenName: 'desk' })).toMatchObject({ tokenName: 'desk' })
    })
  })
})
