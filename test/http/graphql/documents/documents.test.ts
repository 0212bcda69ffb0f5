import { getIntrospectionQuery } from 'graphql'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Documents } from '../../../../src/http/graphql/documents/documents.ts'
import { MAX_MEMBERS } from '../../../../src/http/graphql/documents/variable-limits.ts'
import { heapGrowth } from '../../../support/checks/heap.ts'
import { usePorthor } from '../../../support/porthor/use-porthor.ts'
import { send } from '../../../support/requests/http.ts'

// Work of a few seconds, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 120_000 })

/** Searches of the URL under which a request takes either way: the fast path, or Yoga's. */
const WAYS = ['', '?by=yoga'] as const

/** `leaf` of the children of the children of a token, `levels` of them: each is two fields deep. */
const below = (levels: number, leaf: string): string =>
  `${'children { nodes { '.repeat(levels)}${leaf}${' } }'.repeat(levels)}`

const repeated = (count: number, of: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => of(index)).join(' ')

const aliases = (count: number, field: string): string =>
  `{ ${repeated(count, (index) => `a${index}: ${field}`)} }`

const named = (length: number): string => 'a'.repeat(length)

/** Fragments each of which spreads the next one twice: `levels` of them hold 2 to their power. */
const doubling = (levels: number): string =>
  `{ scopes { ...F0 } } ${repeated(levels, (level) => `fragment F${level} on Scope { name ${level + 1 < levels ? `...F${level + 1} ...F${level + 1}` : ''} }`)}`

/** Kinds of document, each with one that is just within its bound and one that is just beyond. */
const KINDS: readonly [kind: string, within: string, beyond: string][] = [
  [
    'fields below each other',
    `{ viewer { token { ${below(8, 'parent { key }')} } } }`,
    `{ viewer { token { ${below(9, 'key')} } } }`,
  ],
  [
    'fields below each other, by fragments',
    `{ viewer { token { ...F } } } fragment F on Token { ${below(8, 'parent { key }')} }`,
    `{ viewer { token { ${below(5, '...F')} } } } fragment F on Token { ${below(5, 'key')} }`,
  ],
  ['aliases', aliases(30, 'scopes { name }'), aliases(31, 'scopes { name }')],
  ['aliases of __typename', aliases(30, '__typename'), aliases(31, '__typename')],
  [
    'aliases that are named __typename',
    `{ scopes { ${'__typename: name '.repeat(30)} } }`,
    `{ scopes { ${'__typename: name '.repeat(31)} } }`,
  ],
  [
    'aliases in fragments, as often as these are spread',
    `{ viewer { token { ...F parent { ...F } } } } fragment F on Token { ${repeated(15, (n) => `a${n}: key`)} }`,
    `{ viewer { token { ...F parent { ...F } } } } fragment F on Token { ${repeated(16, (n) => `a${n}: key`)} }`,
  ],
  ['equal fields', `{ scopes { ${'name '.repeat(300)} } }`, `{ scopes { ${'name '.repeat(301)} } }`],
  [
    'equal fields of equal fields',
    `{ ${`scopes { ${'name '.repeat(150)} } `.repeat(2)} }`,
    `{ ${`scopes { ${'name '.repeat(101)} } `.repeat(3)} }`,
  ],
  [
    'equal fields in fragments',
    `{ scopes { ...F } } fragment F on Scope { ${'name '.repeat(299)} }`,
    `{ scopes { ...F } } fragment F on Scope { ${'name '.repeat(300)} }`,
  ],
  ['selections with fragments written out', doubling(5), doubling(40)],
  [
    'lexical tokens',
    `{ ${'scopes { name } '.repeat(2)} ${'tokenChanges(filter: {}) { totalCount } '.repeat(99)} }`,
    `{ ${'scopes { name } '.repeat(2)} ${'tokenChanges(filter: {}) { totalCount } '.repeat(99)} __typename }`,
  ],
  ['letters of an alias', `{ ${named(128)}: scopes { name } }`, `{ ${named(129)}: scopes { name } }`],
  [
    'letters of an operation',
    `query ${named(128)} { scopes { name } }`,
    `query ${named(129)} { scopes { name } }`,
  ],
  ['comments', `{ scopes { name } }${'#\n'.repeat(1_000)}`, `{ scopes { name } }${'#\n'.repeat(1_001)}`],
]

describe.each(WAYS)('a document, sent to /graphql%s', (search) => {
  const api = usePorthor('postgres')
  const ask = async (query: string) => {
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${await api.h.session()}` }
    const { body } = await send(`${api.h.url}${search}`, { method: 'POST', headers }, [
      JSON.stringify({ query }),
    ])
    return JSON.parse(body) as { data?: object; errors?: { message: string; extensions: { code: string } }[] }
  }
  const operations = () => api.h.logLines.filter(({ msg }) => msg === 'operation').length

  it.each(KINDS)(
    'is executed within the bound on %s, and refused beyond it',
    async (_kind, within, beyond) => {
      const executed = await ask(within)
      expect(executed).toEqual({ data: expect.anything() })
      const before = operations()
      const refused = await ask(beyond)
      expect(refused).not.toHaveProperty('data')
      expect(refused.errors).toHaveLength(1)
      expect(refused.errors?.[0]?.extensions.code).toMatch(/^GRAPHQL_(VALIDATION|PARSE)_FAILED$/)
      // The session's own.
      expect(operations()).toBe(before + 1)
    },
  )

  it.each([
    ['a scalar', 'scalar A'],
    ['a directive', 'directive @a(b: Int) on FIELD'],
    ['an extension', 'extend type Query { a: Int }'],
    ['a schema', 'schema { query: Query }'],
  ])('that defines %s besides its operation is refused', async (_what, definition) => {
    const { errors } = await ask(`${definition} query { __typename }`)
    expect(errors?.map(({ message }) => message)).toEqual([
      'A document may contain only operations and fragments.',
    ])
  })

  it.each([
    ['itself', '{ scopes { ...F } } fragment F on Scope { name ...F }'],
    [
      'another, below a field',
      '{ viewer { token { ...F } } } fragment F on Token { parent { ...G } } fragment G on Token { parent { ...F } }',
    ],
    ['itself, and is not used', '{ __typename } fragment F on Scope { ...F }'],
  ])('whose fragment holds %s is refused', async (_what, query) => {
    const { errors } = await ask(query)
    expect(errors).toMatchObject([
      {
        message: expect.stringMatching(/^Fragment "\w" contains itself\.$/),
        extensions: { code: 'GRAPHQL_VALIDATION_FAILED' },
      },
    ])
  })

  it('with a hundred errors has at most 21 of them in its response, which is small', async () => {
    const { errors } = await ask(`query ${named(128)} { ${repeated(290, (n) => `${named(100)}${n}`)} }`)
    expect(errors).toHaveLength(21)
    expect(JSON.stringify(errors).length).toBeLessThan(21 * 500)
  })

  it.each([
    ['what GraphiQL and code generators ask of the schema', getIntrospectionQuery()],
    ['names in texts and comments, however long', `{ token(key: "${named(64)}") { key } } # ${named(1_000)}`],
  ])('is executed with %s', async (_what, query) => {
    const { errors = [] } = await ask(query)
    expect(errors.filter(({ extensions }) => extensions.code !== 'NOT_FOUND')).toEqual([])
  })
})

describe('a document is read once', () => {
  const api = usePorthor('postgres')

  it.each(WAYS)('whatever is wrong with it or with its variables: %s', async (search) => {
    const prepare = vi.spyOn(Documents.prototype, 'prepare')
    onTestFinished(() => prepare.mockRestore())
    const headers = { 'Content-Type': 'application/json' }
    for (const body of [
      { query: '{' },
      { query: '{ nope }' },
      { query: `{ ${aliases(31, 'scopes { name }')} }` },
      {
        query: `query Once($first: Int) { tokens(first: $first) { totalCount } }`,
        variables: { first: 'a' },
      },
      { query: 'query Named { __typename }', operationName: 'Other' },
    ]) {
      prepare.mockClear()
      const { body: text } = await send(`${api.h.url}${search}`, { method: 'POST', headers }, [
        JSON.stringify(body),
      ])
      expect(text).toContain('"errors"')
      expect(prepare).toHaveBeenCalledTimes(1)
    }
  })
})

describe('variables that do not fit', () => {
  const api = usePorthor('postgres')
  const many = (count: number, of: (index: number) => readonly [string, unknown]) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => of(index)))

  it.each(
    WAYS.flatMap((search) => [
      [
        MAX_MEMBERS,
        'the first ones by name',
        4,
        /^Variable "\$filter" got invalid value .* is not defined by type/,
        search,
      ] as const,
      [10_000, 'as too many', 1, /^An object in variables may have at most 300 members/, search] as const,
    ]),
  )(
    'are reported in a short message: %i members %s, %i error(s)',
    async (count, _how, errorCount, message, search) => {
      const filter = many(count, (index) => [`field${index}`, index])
      const query = 'query ($filter: TokenChangeFilter) { tokenChanges(filter: $filter) { totalCount } }'
      const { status, body } = await send(
        `${api.h.url}${search}`,
        { method: 'POST', headers: { 'Content-Type': 'application/json' } },
        [JSON.stringify({ query, variables: { filter } })],
      )
      const { errors } = JSON.parse(body) as { errors: { message: string }[] }
      expect([status, errors.length]).toEqual([400, errorCount])
      expect(errors[0]?.message).toMatch(message)
      expect(body.length).toBeLessThan(5_000)
    },
  )
})

describe('requests without a token', () => {
  const api = usePorthor('postgres')

  it('leave little in memory, however many there are', async () => {
    const scopes = '$a '.repeat(400)
    const ask = (service: string) =>
      send(api.h.url, { method: 'POST', headers: { 'Content-Type': 'application/json' } }, [
        JSON.stringify({
          query: `mutation ($a: String! = "a") { internalToken(service: "${service}", scopes: [${scopes}]) { key } }`,
        }),
      ])
    expect((await ask('first')).status).toBe(401)
    const grown = await heapGrowth(async () => {
      for (let index = 0; index < 600; index += 1) await ask(`s${index}`)
    })
    // Kept each, they would take some 120 MB.
    expect(grown).toBeLessThan(70_000_000)
  })
})
