import { getIntrospectionQuery } from 'graphql'
import { describe, expect, it } from 'vitest'
import { useApi } from '../support/api.ts'

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
