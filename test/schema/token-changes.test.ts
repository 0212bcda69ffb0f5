import { describe, expect, it } from 'vitest'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import {
  aUsername,
  bearerOf,
  dataOf,
  IP,
  keyOf,
  lend,
  makeAdmin,
  makeRoot,
  makeTree,
  refusalOf,
} from '../support/tokens/trees.ts'

const t = usePorthor('redis')

interface Entry {
  readonly token: string
  readonly action: string
  readonly eventTime: string
}

interface Changes {
  readonly totalCount: number
  readonly nodes: readonly Entry[]
  readonly edges: readonly { readonly cursor: string; readonly node: Entry }[]
  readonly pageInfo: {
    readonly hasNextPage: boolean
    readonly hasPreviousPage: boolean
    readonly startCursor: string
    readonly endCursor: string
  }
}

const SEARCH = `query ($filter: TokenChangeFilter, $first: Int, $after: String, $last: Int, $before: String) {
  tokenChanges(filter: $filter, first: $first, after: $after, last: $last, before: $before) {
    totalCount nodes { token action eventTime } edges { cursor node { token } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`

async function search(
  filter: object,
  page: object = { first: 500 },
  token = t.h.bootstrapToken,
): Promise<Changes> {
  const { tokenChanges } = await dataOf<{ tokenChanges: Changes }>(t.h, SEARCH, {
    token,
    variables: { filter, ...page },
  })
  return tokenChanges
}

/** An entry as some process wrote it: its token, and what a test is about. */
async function plant(facts: {
  token: string
  username: string
  seconds?: number
  ip?: string | null
}): Promise<void> {
  const { token, username, seconds = 0, ip = null } = facts
  await t.h.sql(
    `INSERT INTO token_change_history (token, username, token_type, scopes, actor, action, ip_address, event_time)
     VALUES ($1, $2, 'session', '', $2, 'create', $3, timestamp '2026-01-01' + make_interval(secs => $4))`,
    [token, username, ip, seconds],
  )
}

const tokensIn = ({ nodes }: Changes): string[] => nodes.map(({ token }) => token)

describe('the list of history events', () => {
  /** Seven entries, A the newest, some of the same second. */
  const plantSeven = async (): Promise<string> => {
    const username = aUsername()
    const times = { G: 0, F: 1, E: 1, D: 1, C: 2, B: 3, A: 3 }
    for (const [token, seconds] of Object.entries(times)) await plant({ token, username, seconds })
    return username
  }

  it('is walked forwards, newest first, by first and after', async () => {
    const username = await plantSeven()
    const one = await search({ username }, { first: 3 })
    const two = await search({ username }, { first: 3, after: one.pageInfo.endCursor })
    const three = await search({ username }, { first: 3, after: two.pageInfo.endCursor })

    expect([one, two, three].map((page) => tokensIn(page).join(''))).toEqual(['ABC', 'DEF', 'G'])
    expect(
      [one, two, three].map(({ pageInfo: { hasNextPage, hasPreviousPage } }) => [
        hasPreviousPage,
        hasNextPage,
      ]),
    ).toEqual([
      [false, true],
      [true, true],
      [true, false],
    ])
    expect([one, two, three].map(({ totalCount }) => totalCount)).toEqual([7, 7, 7])
  })

  it('is walked backwards by last and before', async () => {
    const username = await plantSeven()
    const one = await search({ username }, { last: 3 })
    const two = await search({ username }, { last: 3, before: one.pageInfo.startCursor })
    const three = await search({ username }, { last: 3, before: two.pageInfo.startCursor })

    expect([one, two, three].map((page) => tokensIn(page).join(''))).toEqual(['EFG', 'BCD', 'A'])
    expect(
      [one, two, three].map(({ pageInfo: { hasNextPage, hasPreviousPage } }) => [
        hasPreviousPage,
        hasNextPage,
      ]),
    ).toEqual([
      [true, false],
      [true, true],
      [false, true],
    ])
  })

  it('continues at a cursor whose event was deleted', async () => {
    const username = await plantSeven()
    const { pageInfo } = await search({ username }, { first: 4 })
    await t.h.sql(`DELETE FROM token_change_history WHERE username = $1 AND token = 'D'`, [username])

    expect(tokensIn(await search({ username }, { first: 2, after: pageInfo.endCursor }))).toEqual(['E', 'F'])
    expect(tokensIn(await search({ username }, { last: 2, before: pageInfo.endCursor }))).toEqual(['B', 'C'])
  })

  it('keeps the events of a revoked token, for its user and for admins', async () => {
    const { root, child, grandchild } = await makeTree(t.h)
    const keeper = await makeRoot(t.h, { username: root.username })
    await dataOf(t.h, `mutation { revokeToken(key: "${keyOf(root)}") { keys } }`)
    for (const token of [t.h.bootstrapToken, bearerOf(keeper)]) {
      for (const dead of [root, child, grandchild]) {
        const { nodes } = await search({ token: keyOf(dead) }, {}, token)
        expect(nodes.map(({ action }) => action)).toEqual(['REVOKE', 'CREATE'])
      }
    }
  })

  it('has actor, action, token, time and address of each event', async () => {
    const admin = await makeAdmin(t.h)
    const root = await makeRoot(t.h, { tokenName: 'laptop', endsIn: 86_400 })
    t.h.clock.advance(90)
    const child = await lend(t.h, root, 'tap', ['read:all', 'read:tap'])
    const input = `{tokenName: "desk", scopes: ["read:tap"], noExpire: true}`
    await dataOf(t.h, `mutation { modifyToken(key: "${keyOf(root)}", input: ${input}) { key } }`, {
      token: bearerOf(admin),
    })
    const query = `{ tokenChanges(filter: {key: "${keyOf(root)}"}) { nodes {
      token username type action actor tokenName parent service scopes expiresAt
      oldTokenName oldScopes oldExpiresAt expiresChanged ipAddress eventTime } } }`
    const { tokenChanges } = await dataOf<{ tokenChanges: { nodes: unknown[] } }>(t.h, query)

    const common = { username: root.username, expiresChanged: false, parent: null, service: null }
    const nothingOld = { oldTokenName: null, oldScopes: null, oldExpiresAt: null }
    const ofRoot = { ...common, token: keyOf(root), type: 'USER' }
    const ofChild = { ...common, token: keyOf(child), type: 'INTERNAL', parent: keyOf(root), service: 'tap' }
    const end = root.expiresAt?.toISOString()
    const [before, after] = [root.createdAt.toISOString(), child.createdAt.toISOString()]
    expect(tokenChanges.nodes).toEqual([
      {
        ...ofChild,
        ...nothingOld,
        action: 'EDIT',
        actor: admin.username,
        tokenName: null,
        scopes: ['read:tap'],
        oldScopes: ['read:all', 'read:tap'],
        expiresAt: end,
        ipAddress: '127.0.0.1',
        eventTime: after,
      },
      {
        ...ofRoot,
        action: 'EDIT',
        actor: admin.username,
        tokenName: 'desk',
        oldTokenName: 'laptop',
        scopes: ['read:tap'],
        oldScopes: ['exec:notebook', 'read:all', 'read:tap', 'user:token'],
        expiresAt: null,
        oldExpiresAt: end,
        expiresChanged: true,
        ipAddress: '127.0.0.1',
        eventTime: after,
      },
      {
        ...ofChild,
        ...nothingOld,
        action: 'CREATE',
        actor: root.username,
        tokenName: null,
        scopes: ['read:all', 'read:tap'],
        expiresAt: end,
        ipAddress: IP,
        eventTime: after,
      },
      {
        ...ofRoot,
        ...nothingOld,
        action: 'CREATE',
        actor: '<bootstrap>',
        tokenName: 'laptop',
        scopes: root.scopes,
        expiresAt: end,
        ipAddress: IP,
        eventTime: before,
      },
    ])
  })

  it('distinguishes an edit that set the first expiry of a token from an edit that did not change the expiry', async () => {
    const { key } = (await makeRoot(t.h, { endsIn: null })).token
    const end = new Date(t.h.clock.now().getTime() + 86_400_000).toISOString()
    const edits = [
      ['tokenName: "a"', false],
      [`expiresAt: "${end}"`, true],
      ['tokenName: "b"', false],
      [`expiresAt: "${end}"`, false],
      ['noExpire: true', true],
      ['noExpire: true', false],
      ['scopes: []', false],
    ] as const
    for (const [input] of edits)
      await dataOf(t.h, `mutation { modifyToken(key: "${key}", input: {${input}}) { key } }`)
    const query = `{ token(key: "${key}") { changes { nodes { action expiresChanged } } } }`
    const { token } = await dataOf<{ token: { changes: { nodes: { expiresChanged: boolean }[] } } }>(
      t.h,
      query,
    )

    expect(token.changes.nodes.map(({ expiresChanged }) => expiresChanged).reverse()).toEqual([
      false,
      ...edits.map(([, isChange]) => isChange),
    ])
  })
})

describe('a search for history events', () => {
  it('finds by user, actor, type, key and token; all given criteria must match', async () => {
    const admin = await makeAdmin(t.h)
    const { root, child, notebook, grandchild } = await makeTree(t.h)
    await dataOf(t.h, `mutation { modifyToken(key: "${keyOf(root)}", input: {tokenName: "desk"}) { key } }`, {
      token: bearerOf(admin),
    })
    const { username } = root
    const found = async (filter: object) => {
      const { totalCount, nodes } = await search(filter)
      expect(totalCount).toBe(nodes.length)
      return nodes.map(({ token, action }) => [token, action])
    }
    const created = [root, child, notebook, grandchild].map((token) => [keyOf(token), 'CREATE']).reverse()
    const edited = [keyOf(root), 'EDIT']

    expect(await found({ username })).toEqual([edited, ...created])
    expect(await found({ actor: admin.username })).toEqual([edited])
    expect(await found({ actor: username })).toEqual(created.slice(0, 3))
    expect(await found({ username, actor: '<bootstrap>' })).toEqual(created.slice(3))
    expect(await found({ username, type: 'NOTEBOOK' })).toEqual([[keyOf(notebook), 'CREATE']])
    expect(await found({ key: keyOf(root) })).toEqual([edited, ...created.slice(1)])
    expect(await found({ key: keyOf(child) })).toEqual([created[0], created[2]])
    expect(await found({ token: keyOf(root) })).toEqual([edited, created[3]])
    expect(await found({ token: keyOf(root), actor: '<bootstrap>' })).toEqual([created[3]])
    expect(await found({ key: keyOf(root), token: keyOf(grandchild) })).toEqual([])
    expect(await found({ username, actor: null, type: null })).toHaveLength(5)
  })

  it('finds by time, with both limits included', async () => {
    const username = aUsername()
    for (const seconds of [0, 1, 2, 3]) await plant({ token: String(seconds), username, seconds })
    const found = async (filter: object) => tokensIn(await search({ username, ...filter })).join('')
    const [one, two] = ['2026-01-01T00:00:01Z', '2026-01-01T00:00:02Z']

    expect(await found({ since: one })).toBe('321')
    expect(await found({ until: two })).toBe('210')
    expect(await found({ since: one, until: two })).toBe('21')
    expect(await found({ since: one, until: one })).toBe('1')
    expect(await found({ since: '2026-01-01T02:00:01+02:00', until: '2026-01-01T00:00:02.500Z' })).toBe('21')
    expect(await found({ since: two, until: one })).toBe('')
  })

  const ADDRESSES = {
    a: '192.0.2.20',
    b: '192.0.2.21',
    c: '198.51.100.7',
    d: '2001:db8::20',
    e: '2001:db8:1::20',
    f: '::ffff:192.0.2.20',
    none: null,
  }

  it.each([
    ['an address', '192.0.2.20', 'a'],
    ['an address that is nowhere', '192.0.2.22', ''],
    ['a block', '192.0.2.0/24', 'ab'],
    ['a smaller block', '192.0.2.20/31', 'ab'],
    ['all of IPv4', '0.0.0.0/0', 'abc'],
    ['a block of one address', '192.0.2.20/32', 'a'],
    ['an IPv6 address', '2001:db8::20', 'd'],
    ['an IPv6 address at full length', '2001:0DB8:0000:0000:0000:0000:0000:0020', 'd'],
    ['an IPv6 block', '2001:db8::/32', 'de'],
    ['a block of one IPv6 address', '2001:db8::20/128', 'd'],
    ['all of IPv6', '::/0', 'def'],
  ])('finds by %s: %s', async (_what, ipAddress, expected) => {
    const username = aUsername()
    for (const [token, ip] of Object.entries(ADDRESSES)) await plant({ token, username, ip })
    const { nodes, totalCount } = await search({ username, ipAddress })

    expect(
      nodes
        .map(({ token }) => token)
        .reverse()
        .join(''),
    ).toBe(expected)
    expect(totalCount).toBe(expected.length)
  })

  it.each([
    ['', 'nothing'],
    ['192.0.2.20/24', 'host bits set'],
    ['2001:db8::20/32', 'host bits set'],
    ['192.0.2.0/33', 'a prefix too long'],
    ['192.0.2.0/024', 'a prefix with a leading zero'],
    ['::/00', 'a prefix with a leading zero'],
    ['::ffff:0x7f.1.1.1', 'digits that PostgreSQL does not read'],
    ['::ffff:010.1.1.1', 'digits that PostgreSQL does not read'],
    ['192.0.2', 'a short form'],
    ['fe80::1%eth0', 'a zone'],
    ['localhost', 'a name'],
    ["1' OR 1=1 --", 'SQL'],
    ['192.0.2.20\0', 'a NUL'],
  ])('refuses %j: %s is INVALID_IP_ADDRESS', async (ipAddress) => {
    expect(await refusalOf(t.h, SEARCH, { variables: { filter: { ipAddress } } })).toEqual([
      'INVALID_IP_ADDRESS',
      200,
    ])
  })

  it.each(['username', 'actor', 'key', 'token'])(
    'refuses a %s with a NUL in it as INVALID_FILTER',
    async (name) => {
      expect(await refusalOf(t.h, SEARCH, { variables: { filter: { [name]: 'a\0b' } } })).toEqual([
        'INVALID_FILTER',
        200,
      ])
    },
  )

  it.each([
    ['before the calendar', '0000-12-31T23:59:59Z'],
    ['in its first year, but not in UTC', '0001-01-01T00:00:00+01:00'],
    ['after the calendar', '9999-12-31T23:59:59-12:00'],
  ])('refuses a time %s as INVALID_FILTER', async (_what, time) => {
    for (const name of ['since', 'until']) {
      const answer = await refusalOf(t.h, SEARCH, { variables: { filter: { [name]: time } } })
      expect(answer).toEqual(['INVALID_FILTER', 200])
    }
  })

  it('returns addresses in their shortest form, without a prefix', async () => {
    const username = aUsername()
    for (const ip of ['2001:0db8:0000::0020', '192.0.2.20/32', null])
      await plant({ token: 'a', username, ip })
    const query = `{ tokenChanges(filter: {username: "${username}"}) { nodes { ipAddress } } }`
    const { tokenChanges } = await dataOf<{ tokenChanges: { nodes: unknown[] } }>(t.h, query)
    expect(tokenChanges.nodes).toEqual([
      { ipAddress: null },
      { ipAddress: '192.0.2.20' },
      { ipAddress: '2001:db8::20' },
    ])
  })

  it('shows a user their own history only, whatever the filter, also for one token', async () => {
    const [mine, others] = [await makeTree(t.h), await makeTree(t.h)]
    const token = bearerOf(mine.root)

    expect(tokensIn(await search({ key: keyOf(others.root) }, {}, token))).toEqual([])
    expect(tokensIn(await search({ actor: others.root.username }, {}, token))).toEqual([])
    expect(tokensIn(await search({ ipAddress: IP }, {}, token))).toHaveLength(4)
  })
})
