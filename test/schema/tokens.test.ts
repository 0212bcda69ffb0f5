import { describe, expect, it } from 'vitest'
import { formatCursor } from '../../src/domain/page.ts'
import { generateToken, type TokenData } from '../../src/domain/token.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import {
  aUsername,
  bearerOf,
  dataOf,
  keyOf,
  keysOf,
  lend,
  makeRoot,
  makeTree,
  refusalOf,
  statementsOf,
} from '../support/tokens/trees.ts'

const t = usePorthor('redis')

interface Connection {
  readonly edges: readonly { readonly cursor: string; readonly node: { readonly key: string } }[]
  readonly pageInfo: {
    readonly hasNextPage: boolean
    readonly hasPreviousPage: boolean
    readonly startCursor: string | null
    readonly endCursor: string | null
  }
}

const PAGE = 'edges { cursor node { key } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }'
const PARAMETERS = '$first: Int, $after: String, $last: Int, $before: String'
const ARGUMENTS = 'first: $first, after: $after, last: $last, before: $before'

type PageArguments = Partial<
  Record<'first' | 'last', number | null> & Record<'after' | 'before', string | null>
>

/** Three lists of tokens that are paged alike. */
const lists = {
  tokens: async (username: string, page: PageArguments) => {
    const query = `query (${PARAMETERS}, $username: String) {
      tokens(username: $username, ${ARGUMENTS}) { ${PAGE} } }`
    const { tokens } = await dataOf<{ tokens: Connection }>(t.h, query, { variables: { username, ...page } })
    return tokens
  },
  children: async (key: string, page: PageArguments) => {
    const query = `query (${PARAMETERS}, $key: ID!) { token(key: $key) { children(${ARGUMENTS}) { ${PAGE} } } }`
    const { token } = await dataOf<{ token: { children: Connection } }>(t.h, query, {
      variables: { key, ...page },
    })
    return token.children
  },
}

/** Seven tokens of one user, some of them made in the same second; newest first, as the database sorts. */
async function makeSeven(username: string): Promise<string[]> {
  for (const seconds of [0, 1, 1, 0, 0, 5, 0]) {
    t.h.clock.advance(seconds)
    await makeRoot(t.h, { username })
  }
  const rows = await t.h.sql<{ token: string }>(
    'SELECT token FROM token WHERE username = $1 ORDER BY created DESC, token DESC',
    [username],
  )
  return rows.map(({ token }) => token)
}

const makeChildren = async (parent: TokenData, count: number): Promise<string[]> => {
  for (let index = 0; index < count; index += 1) {
    await lend(t.h, parent, `service-${index}`)
    t.h.clock.advance(index % 2)
  }
  const rows = await t.h.sql<{ child: string }>(
    'SELECT child FROM subtoken JOIN token ON token = child WHERE parent = $1 ORDER BY created DESC, child DESC',
    [keyOf(parent)],
  )
  return rows.map(({ child }) => child)
}

const keysIn = ({ edges }: Connection): string[] => edges.map(({ node }) => node.key)

describe('a list of tokens', () => {
  it.each(['tokens', 'children'] as const)(
    '%s: is walked forwards, newest first, by first and after',
    async (list) => {
      const parent = await makeRoot(t.h)
      const username = aUsername()
      const all = list === 'tokens' ? await makeSeven(username) : await makeChildren(parent, 7)
      const page = (args: PageArguments) => lists[list](list === 'tokens' ? username : keyOf(parent), args)

      const one = await page({ first: 3 })
      const two = await page({ first: 3, after: one.pageInfo.endCursor })
      const three = await page({ first: 3, after: two.pageInfo.endCursor })

      expect([one, two, three].map(keysIn)).toEqual([all.slice(0, 3), all.slice(3, 6), all.slice(6)])
      expect([one, two, three].map(({ pageInfo }) => pageInfo)).toMatchObject([
        { hasPreviousPage: false, hasNextPage: true },
        { hasPreviousPage: true, hasNextPage: true },
        { hasPreviousPage: true, hasNextPage: false },
      ])
      for (const { edges, pageInfo } of [one, two, three]) {
        expect([pageInfo.startCursor, pageInfo.endCursor]).toEqual([edges[0]?.cursor, edges.at(-1)?.cursor])
      }
    },
  )

  it.each(['tokens', 'children'] as const)('%s: is walked backwards by last and before', async (list) => {
    const parent = await makeRoot(t.h)
    const username = aUsername()
    const all = list === 'tokens' ? await makeSeven(username) : await makeChildren(parent, 7)
    const page = (args: PageArguments) => lists[list](list === 'tokens' ? username : keyOf(parent), args)

    const one = await page({ last: 3 })
    const two = await page({ last: 3, before: one.pageInfo.startCursor })
    const three = await page({ last: 3, before: two.pageInfo.startCursor })

    expect([one, two, three].map(keysIn)).toEqual([all.slice(4), all.slice(1, 4), all.slice(0, 1)])
    expect([one, two, three].map(({ pageInfo }) => pageInfo)).toMatchObject([
      { hasPreviousPage: true, hasNextPage: false },
      { hasPreviousPage: true, hasNextPage: true },
      { hasPreviousPage: false, hasNextPage: true },
    ])
  })

  it('is limited on both sides by after and before, and paged within', async () => {
    const username = aUsername()
    const all = await makeSeven(username)
    const { edges } = await lists.tokens(username, {})
    const [after, before] = [edges[0]?.cursor ?? '', edges[5]?.cursor ?? '']

    expect(keysIn(await lists.tokens(username, { after, before }))).toEqual(all.slice(1, 5))
    expect(keysIn(await lists.tokens(username, { after, before, first: 2 }))).toEqual(all.slice(1, 3))
    expect(keysIn(await lists.tokens(username, { after, before, last: 2 }))).toEqual(all.slice(3, 5))
    expect(keysIn(await lists.tokens(username, { before, first: 2 }))).toEqual(all.slice(0, 2))
    expect(keysIn(await lists.tokens(username, { after, last: 2 }))).toEqual(all.slice(5))
    expect(keysIn(await lists.tokens(username, { after: before, before: after }))).toEqual([])
  })

  it('continues at a cursor whose token was deleted, and at one before which tokens were created', async () => {
    const username = aUsername()
    const all = await makeSeven(username)
    const { pageInfo } = await lists.tokens(username, { first: 3 })
    await t.h.sql('DELETE FROM token WHERE token = $1', [all[2]])
    t.h.clock.advance(1)
    await makeRoot(t.h, { username })

    expect(keysIn(await lists.tokens(username, { first: 2, after: pageInfo.endCursor }))).toEqual(
      all.slice(3, 5),
    )
    expect(keysIn(await lists.tokens(username, { last: 2, before: pageInfo.endCursor }))).toEqual(
      all.slice(0, 2),
    )
  })

  it('has 50 tokens on a page by default, and up to 500', async () => {
    const username = aUsername()
    await t.h.sql(
      `INSERT INTO token (token, username, token_type, scopes, created)
       SELECT md5($1 || n), $1, 'session', '', '2026-01-01' FROM generate_series(1, 501) AS n`,
      [username],
    )
    const { edges, pageInfo } = await lists.tokens(username, {})
    expect([edges.length, pageInfo.hasNextPage]).toEqual([50, true])
    const { edges: most, pageInfo: mostInfo } = await lists.tokens(username, { first: 500 })
    expect([most.length, mostInfo.hasNextPage]).toEqual([500, true])
  })

  it('that is empty has no cursors', async () => {
    expect(await lists.tokens(aUsername(), { first: 1 })).toEqual({
      edges: [],
      pageInfo: { hasNextPage: false, hasPreviousPage: false, startCursor: null, endCursor: null },
    })
  })

  it('has the same tokens in nodes as in edges', async () => {
    const username = aUsername()
    const all = await makeSeven(username)
    const query = 'query ($username: String) { tokens(username: $username) { nodes { key } } }'
    const { tokens } = await dataOf<{ tokens: { nodes: { key: string }[] } }>(t.h, query, {
      variables: { username },
    })
    expect(tokens.nodes.map(({ key }) => key)).toEqual(all)
  })

  const connections = {
    tokens: `tokens(${ARGUMENTS}) { nodes { key } }`,
    tokenChanges: `tokenChanges(${ARGUMENTS}) { nodes { token } }`,
    'Token.children': `token(key: $key) { children(${ARGUMENTS}) { nodes { key } } }`,
    'Token.changes': `token(key: $key) { changes(${ARGUMENTS}) { nodes { token } } }`,
  }
  const tokenCursor = formatCursor('token', { at: new Date(0), tie: 'q1w2e3r4t5y6u7i8o9p0aQ' })
  const changeCursor = formatCursor('change', { at: new Date(0), tie: '17' })
  const isOfChanges = (name: string) => name === 'tokenChanges' || name === 'Token.changes'

  describe.each(Object.entries(connections))('%s', (name, field) => {
    const ask = async (page: PageArguments) => {
      const key = keyOf(await makeRoot(t.h))
      return refusalOf(t.h, `query (${PARAMETERS}, $key: ID!) { any: token(key: $key) { key } ${field} }`, {
        variables: { key, ...page },
      })
    }

    it.each([
      ['first: 0', { first: 0 }],
      ['first: -1', { first: -1 }],
      ['first: 501', { first: 501 }],
      ['last: 0', { last: 0 }],
      ['last: -1', { last: -1 }],
      ['last: 501', { last: 501 }],
      ['first and last', { first: 1, last: 1 }],
    ])('refuses %s with INVALID_PAGE_SIZE', async (_what, page) => {
      expect(await ask(page)).toEqual(['INVALID_PAGE_SIZE', 200])
    })

    it.each([
      ['text', 'newest'],
      ['nothing', ''],
      ['a cursor of the other kind of list', isOfChanges(name) ? tokenCursor : changeCursor],
      ['a time that no calendar has', Buffer.from('token/999999999999999/a').toString('base64url')],
    ])('refuses %s as a cursor with INVALID_CURSOR', async (_what, cursor) => {
      expect(await ask({ after: cursor })).toEqual(['INVALID_CURSOR', 200])
      expect(await ask({ before: cursor })).toEqual(['INVALID_CURSOR', 200])
    })
  })
})

describe('a search for tokens', () => {
  it('finds by user, by type, and by both', async () => {
    const { root, child, notebook, grandchild } = await makeTree(t.h)
    const other = await makeTree(t.h)
    const search = async (args: string) => {
      const query = `{ tokens(${args}, first: 500) { totalCount nodes { key } } }`
      const { tokens } = await dataOf<{ tokens: { totalCount: number; nodes: { key: string }[] } }>(
        t.h,
        query,
      )
      expect(tokens.totalCount).toBe(tokens.nodes.length)
      return tokens.nodes.map(({ key }) => key)
    }
    const mine = `username: "${root.username}"`
    const sorted = (tokens: TokenData[]) => keysOf(tokens).sort()

    expect((await search(mine)).sort()).toEqual(sorted([root, child, notebook, grandchild]))
    expect((await search(`${mine}, type: INTERNAL`)).sort()).toEqual(sorted([child, grandchild]))
    expect(await search(`${mine}, type: OIDC`)).toEqual([])
    const notebooks = await search('type: NOTEBOOK')
    expect(notebooks).toEqual(expect.arrayContaining(keysOf([notebook, other.notebook])))
    expect(notebooks).not.toContain(keyOf(child))
  })

  it('refuses a NUL, which is in no name', async () => {
    const query = 'query ($text: String) { tokens(username: $text) { totalCount } }'
    expect(await refusalOf(t.h, query, { variables: { text: 'a\0b' } })).toEqual(['INVALID_FILTER', 200])
  })
})

describe('a nested query', () => {
  const LEVELS = `query ($username: String!) {
    tokens(username: $username, type: USER) { totalCount nodes {
      parent { key }
      changes { totalCount nodes { action expiresChanged } }
      children { totalCount nodes {
        parent { key }
        changes { nodes { action expiresChanged } }
        children { nodes { key parent { key } changes(first: 1) { nodes { action } } } }
      } }
    } }
  }`

  it('sends one SQL statement for each level, however many tokens there are', async () => {
    const [few, many] = [aUsername(), aUsername()]
    const narrow = 'mutation ($key: ID!) { modifyToken(key: $key, input: {scopes: ["read:all"]}) { key } }'
    for (const username of [few, ...Array.from({ length: 5 }, () => many)]) {
      const { root } = await makeTree(t.h, { username })
      await dataOf(t.h, narrow, { variables: { key: keyOf(root) } })
    }
    const costOf = async (username: string) => {
      let answer: unknown
      const statements = await statementsOf(async () => {
        answer = await dataOf(t.h, LEVELS, { variables: { username } })
      })
      return { statements, text: JSON.stringify(answer) }
    }
    const [one, five] = [await costOf(few), await costOf(many)]

    // The list and its count; six below it, with the counts and what expiresChanged looks up; four; and two.
    expect(one.statements).toHaveLength(2 + 6 + 4 + 2)
    expect(five.statements).toHaveLength(one.statements.length)
    expect(five.text.match(/"action"/g)).toHaveLength(5 * (one.text.match(/"action"/g) ?? []).length)
  })

  it.each([
    ['tokens', 'tokens { nodes { key } }', 'tokens { totalCount nodes { key } }'],
    ['tokenChanges', 'tokenChanges { nodes { token } }', 'tokenChanges { totalCount nodes { token } }'],
    [
      'children',
      'token(key: $key) { children { nodes { key } } }',
      'token(key: $key) { children { totalCount nodes { key } } }',
    ],
    [
      'changes',
      'token(key: $key) { changes { nodes { token } } }',
      'token(key: $key) { changes { totalCount nodes { token } } }',
    ],
  ])('of %s includes counting only where totalCount is selected', async (_what, without, counting) => {
    const { root } = await makeTree(t.h)
    const parameters = without.includes('$key') ? '($key: ID!)' : ''
    const costOf = (field: string) =>
      statementsOf(() => dataOf(t.h, `query ${parameters} { ${field} }`, { variables: { key: keyOf(root) } }))

    const [plain, counted] = [await costOf(without), await costOf(counting)]
    expect(plain.filter((text) => /count\(/.test(text))).toEqual([])
    expect(counted.length).toBe(plain.length + 1)
    expect(counted.filter((text) => /count\(/.test(text))).toHaveLength(1)
  })
})

describe('access to tokens:', () => {
  const TOKEN = 'query ($key: ID!) { token(key: $key) { key username } }'
  const ALL =
    '{ tokens(first: 500) { totalCount nodes { key } } tokenChanges(first: 500) { totalCount nodes { token } } }'

  interface Everything {
    readonly tokens: { readonly totalCount: number; readonly nodes: readonly { readonly key: string }[] }
    readonly tokenChanges: {
      readonly totalCount: number
      readonly nodes: readonly { readonly token: string }[]
    }
  }

  it('a user lists their own tokens and history, and an admin lists all', async () => {
    const [mine, others] = [await makeTree(t.h), await makeTree(t.h)]
    const { tokens, tokenChanges } = await dataOf<Everything>(t.h, ALL, { token: bearerOf(mine.root) })
    const keys = keysOf(Object.values(mine)).sort()

    expect(tokens.nodes.map(({ key }) => key).sort()).toEqual(keys)
    expect(tokenChanges.nodes.map(({ token }) => token).sort()).toEqual(keys)
    expect([tokens.totalCount, tokenChanges.totalCount]).toEqual([4, 4])
    const { tokens: all } = await dataOf<Everything>(t.h, ALL)
    expect(all.nodes.map(({ key }) => key)).toEqual(expect.arrayContaining(keysOf([mine.root, others.root])))
  })

  it('a user may name themselves in a filter, and is denied to name another', async () => {
    const [mine, others] = [await makeRoot(t.h), await makeRoot(t.h)]
    const search = (username: string) => [
      `{ tokens(username: "${username}") { totalCount } }`,
      `{ tokenChanges(filter: {username: "${username}"}) { totalCount } }`,
    ]
    for (const query of search(mine.username)) await dataOf(t.h, query, { token: bearerOf(mine) })
    for (const query of search(others.username)) {
      expect(await refusalOf(t.h, query, { token: bearerOf(mine) })).toEqual(['PERMISSION_DENIED', 403])
    }
  })

  it("without user:token only the viewer's current token is shown", async () => {
    const root = await makeRoot(t.h, { scopes: ['read:all'] })
    const token = bearerOf(root)
    const denied = [
      `{ token(key: "${keyOf(root)}") { key } }`,
      '{ tokens { totalCount } }',
      '{ tokenChanges { totalCount } }',
      '{ viewer { token { children { totalCount } } } }',
      '{ viewer { token { changes { totalCount } } } }',
    ]
    for (const query of denied)
      expect(await refusalOf(t.h, query, { token }), query).toEqual(['PERMISSION_DENIED', 403])
    expect(await dataOf(t.h, '{ viewer { token { key } } }', { token })).toEqual({
      viewer: { token: { key: keyOf(root) } },
    })
  })

  it('a token of another user is NOT_FOUND, with the same message as one that does not exist', async () => {
    const [mine, others] = [await makeRoot(t.h), await makeRoot(t.h)]
    const absent = generateToken().key
    const ask = async (key: string) => {
      const { status, data, errors } = await t.h.ask(TOKEN, { token: bearerOf(mine), variables: { key } })
      return JSON.stringify({ status, data, errors }).replaceAll(key, 'KEY')
    }
    const ofOthers = await ask(keyOf(others))

    expect(ofOthers).toBe(await ask(absent))
    expect(ofOthers).toContain('NOT_FOUND')
    expect(await dataOf(t.h, TOKEN, { variables: { key: keyOf(others) } })).toMatchObject({
      token: { username: others.username },
    })
  })

  it('a key that no token can have is NOT_FOUND', async () => {
    expect(await refusalOf(t.h, TOKEN, { variables: { key: 'a\0b' } })).toEqual(['NOT_FOUND', 200])
    expect(await refusalOf(t.h, TOKEN, { variables: { key: '' } })).toEqual(['NOT_FOUND', 200])
  })

  it("is checked again on every edge: no token of another user is reached from one's own", async () => {
    const [mine, others] = [await makeTree(t.h), await makeTree(t.h)]
    // As no Porthor would write it: my child is lent from, and lends to, tokens of another user.
    await t.h.sql('UPDATE subtoken SET parent = $2 WHERE child = $1', [keyOf(mine.child), keyOf(others.root)])
    await t.h.sql('UPDATE subtoken SET parent = $2 WHERE child = $1', [
      keyOf(others.child),
      keyOf(mine.child),
    ])
    await t.h.sql('UPDATE token_change_history SET username = $2 WHERE token = $1', [
      keyOf(mine.grandchild),
      others.root.username,
    ])
    const query = `query ($key: ID!) { token(key: $key) {
      parent { key } children { totalCount nodes { key changes { totalCount nodes { token } } } } } }`
    const variables = { key: keyOf(mine.child) }

    expect(await dataOf(t.h, query, { token: bearerOf(mine.root), variables })).toEqual({
      token: {
        parent: null,
        children: {
          totalCount: 1,
          nodes: [{ key: keyOf(mine.grandchild), changes: { totalCount: 0, nodes: [] } }],
        },
      },
    })
    expect(await dataOf(t.h, query, { variables })).toMatchObject({
      token: { parent: { key: keyOf(others.root) }, children: { totalCount: 2 } },
    })
  })
})

describe('a token', () => {
  it('has its attributes, its parent and its children to any depth', async () => {
    const { root, child, grandchild } = await makeTree(t.h, { tokenName: 'laptop', endsIn: 86_400 })
    const query = `query ($key: ID!) { token(key: $key) {
      key username type tokenName service scopes createdAt expiresAt lastUsedAt
      parent { key type tokenName expiresAt parent { key } children { nodes { key service children { nodes { key parent { key } } } } } } } }`

    expect(await dataOf(t.h, query, { variables: { key: keyOf(child) } })).toEqual({
      token: {
        key: keyOf(child),
        username: root.username,
        type: 'INTERNAL',
        tokenName: null,
        service: 'portal',
        scopes: ['read:all', 'read:tap'],
        createdAt: child.createdAt.toISOString(),
        expiresAt: child.expiresAt?.toISOString(),
        lastUsedAt: null,
        parent: {
          key: keyOf(root),
          type: 'USER',
          tokenName: 'laptop',
          expiresAt: root.expiresAt?.toISOString(),
          parent: null,
          children: {
            nodes: expect.arrayContaining([
              {
                key: keyOf(child),
                service: 'portal',
                children: { nodes: [{ key: keyOf(grandchild), parent: { key: keyOf(child) } }] },
              },
            ]),
          },
        },
      },
    })
  })
})
