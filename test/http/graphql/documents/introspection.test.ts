import { getIntrospectionQuery } from 'graphql'
import { describe, expect, it } from 'vitest'
import { usePorthor } from '../../../support/porthor/use-porthor.ts'
import { send } from '../../../support/requests/http.ts'

const QUERIES = [
  ['the schema', '{ __schema { queryType { name } } }'],
  ['a type, in a fragment', '{ ...F } fragment F on Query { __type(name: "Token") { name } }'],
  ['what code generators ask for', getIntrospectionQuery()],
] as const

const WAYS = ['', '?by=yoga'] as const

describe('in production', () => {
  const api = usePorthor('postgres', { NODE_ENV: 'production' })

  it.each(QUERIES)('introspection is off, with a token too: %s', async (_what, query) => {
    for (const token of [undefined, api.h.bootstrapToken]) {
      const { data, code, errors } = await api.h.ask(query, token === undefined ? {} : { token })
      expect([data, code]).toEqual([undefined, 'GRAPHQL_VALIDATION_FAILED'])
      expect(errors[0]?.message).toMatch(/^Introspection is off/)
    }
  })

  it('__typename is no introspection', async () => {
    expect((await api.h.ask('{ __typename }')).data).toEqual({ __typename: 'Query' })
  })

  it.each(WAYS)('errors do not suggest what could have been meant: %s', async (search) => {
    for (const [query, variables] of [
      ['{ tokenz { key } }', {}],
      ['{ viewer { token { keyy } } }', {}],
      ['query ($a: Strin) { __typename }', {}],
      ['{ tokens(typ: INTERNAL) { totalCount } }', {}],
      ['{ tokens(type: INTERNA) { totalCount } }', {}],
      ['query ($t: TokenType) { tokens(type: $t) { totalCount } }', { t: 'INTERNA' }],
      ['query ($f: TokenChangeFilter) { tokenChanges(filter: $f) { totalCount } }', { f: { acto: 'a' } }],
    ] as const) {
      const { body } = await send(
        `${api.h.url}${search}`,
        { method: 'POST', headers: { 'Content-Type': 'application/json' } },
        [JSON.stringify({ query, variables })],
      )
      expect(body).toContain('"errors"')
      expect(body).not.toContain('Did you mean')
    }
  })
})

describe('in production with INTROSPECTION=true', () => {
  const api = usePorthor('postgres', { NODE_ENV: 'production', INTROSPECTION: 'true' })

  it.each(QUERIES)('anybody may query %s', async (_what, query) => {
    expect((await api.h.ask(query)).errors).toEqual([])
  })

  it('errors suggest what could have been meant', async () => {
    expect((await api.h.ask('{ tokenz { key } }')).errors[0]?.message).toContain('Did you mean')
  })
})

describe('in development without GraphiQL', () => {
  const api = usePorthor('postgres', { GRAPHIQL: 'false' })

  it.each(QUERIES)('only a client with a valid token may query %s', async (_what, query) => {
    expect(await api.h.ask(query)).toMatchObject({ status: 401, data: null, code: 'UNAUTHENTICATED' })
    expect(await api.h.ask(query, { token: 'gt-x' })).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' })
    expect((await api.h.ask(query, { token: await api.h.session() })).errors).toEqual([])
  })
})

describe('in development', () => {
  const api = usePorthor('postgres')

  it.each(QUERIES)('GraphiQL may query %s before it has a token', async (_what, query) => {
    expect((await api.h.ask(query)).errors).toEqual([])
  })

  it('errors suggest what could have been meant', async () => {
    expect((await api.h.ask('{ tokenz { key } }')).errors[0]?.message).toContain('Did you mean')
  })
})
