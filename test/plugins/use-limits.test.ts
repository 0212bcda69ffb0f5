import { getIntrospectionQuery } from 'graphql'
import { describe, expect, it } from 'vitest'
import { useApi } from '../support/api.ts'
import { heapGrowth } from '../support/heap.ts'
import { send } from '../support/http.ts'

/** `leaf` of the children of the children of a token, `levels` of them: each is two fields deep. */
const below = (levels: number, leaf: string): string =>
  `${'children { nodes { '.repeat(levels)}${leaf}${' } }'.repeat(levels)}`

const aliases = (count: number): string =>
  `{ ${Array.from({ length: count }, (_, index) => `a${index}: scopes { name }`).join(' ')} }`

describe('a query that asks too much', () => {
  const api = useApi('postgres')
  const ask = async (query: string) => api.h.ask(query, { token: await api.h.session() })

  it.each([
    ['deep', `{ viewer { token { ${below(10, 'key')} } } }`],
    [
      'deep in fragments',
      `{ viewer { token { ${below(5, '...F')} } } } fragment F on Token { ${below(5, 'key')} }`,
    ],
    ['of many aliases', aliases(31)],
    ['of many words', `{ scopes { ${'name '.repeat(2_000)} } }`],
    ['of many directives', `{ scopes { name ${'@skip(if: false) '.repeat(400)} } }`],
    ['of fragments in a circle', '{ scopes { ...F } } fragment F on Scope { name ...F }'],
    [
      'of introspection in depth',
      `{ __schema { types { ${'fields { type { '.repeat(9)} name ${'} } '.repeat(9)} } } }`,
    ],
  ])('is refused and not run: %s', async (_what, query) => {
    const lines = api.h.logLines.length
    const answer = await ask(query)
    expect(answer.data).toBeUndefined()
    expect(answer.code).toMatch(/^(BAD_USER_INPUT|GRAPHQL_\w+_FAILED)$/)
    const operations = api.h.logLines.slice(lines).filter(({ msg }) => msg === 'operation')
    // The session's own.
    expect(operations).toHaveLength(1)
  })

  it.each([
    ['thirty aliases', aliases(30)],
    [
      'a child of a child of ours',
      '{ viewer { token { children { nodes { children { nodes { key } } } } } } }',
    ],
    ['what GraphiQL and code generators ask of the schema', getIntrospectionQuery()],
  ])('is not: %s', async (_what, query) => {
    expect((await ask(query)).errors).toEqual([])
  })
})

describe('variables that do not fit', () => {
  const api = useApi('postgres')
  const many = (count: number, of: (index: number) => readonly [string, unknown]) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => of(index)))

  it.each(['', '?by=yoga'])('are told of in few words, however many there are: %s', async (search) => {
    const filter = many(10_000, (index) => [`field${index}`, index])
    const query = 'query ($filter: TokenChangeFilter) { tokenChanges(filter: $filter) { totalCount } }'
    const { status, body } = await send(
      `${api.h.url}${search}`,
      { method: 'POST', headers: { 'Content-Type': 'application/json' } },
      [JSON.stringify({ query, variables: { filter } })],
    )
    const { errors } = JSON.parse(body) as { errors: { message: string }[] }
    expect([status, errors.length]).toEqual([400, 4])
    expect(errors[0]?.message).toMatch(/^Variable "\$filter" got invalid value .* is not defined by type/)
    expect(body.length).toBeLessThan(5_000)
  })
})

describe('fragments that hold each other again and again', () => {
  const api = useApi('postgres')

  it('are each looked into once, where arguments are looked for', async () => {
    const levels = Array.from(
      { length: 8 },
      (_, level) =>
        `fragment F${level} on RevokeTokensPayload { ${level < 7 ? `...F${level + 1} `.repeat(90) : 'keys(first: -1)'} }`,
    )
    const query = `mutation { revokeTokens(filter: { username: "nobody" }) { ...F0 } } ${levels.join(' ')}`
    expect(await api.h.ask(query, { token: api.h.bootstrapToken })).toMatchObject({
      code: 'INVALID_PAGE_SIZE',
    })
  })
})

describe('requests without a token', () => {
  const api = useApi('postgres')

  it('leave little in memory, however many there are', async () => {
    const scopes = '$a '.repeat(600)
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
    // Kept each, they would take some 180 MB.
    expect(grown).toBeLessThan(100_000_000)
  })
})
