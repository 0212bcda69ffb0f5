import { describe, expect, it } from 'vitest'
import { formatToken, generateToken } from '../../../../src/domain/token.ts'
import { usePorthor } from '../../../support/porthor/use-porthor.ts'

const VIEWER = '{ viewer { token { key } } }'
const SESSION = 'mutation { createSessionToken(input: { username: "wren" }) { token } }'

/** What no client is to see: SQL, names of ours, drivers and files, stacks. */
const INTERNALS =
  /select|insert|relation|column|token_name|prisma|postgres|redis|node_modules|\.ts\b|\bat \w+|TypeError|stack/i

describe.each(['redis', 'postgres'] as const)('an unexpected error over %s', (store) => {
  const t = usePorthor(store, {}, { isFresh: true })

  it.each([
    ['reading fails', 'ALTER TABLE token DROP COLUMN scopes CASCADE', VIEWER],
    ['writing fails', 'ALTER TABLE token_change_history DROP COLUMN actor', SESSION],
    ['a table is gone', 'ALTER TABLE token RENAME TO token_elsewhere', SESSION],
  ])(
    'is masked when %s, and found in the log by the request id that the client sees',
    async (_what, sql, query) => {
      t.expectErrors()
      const token = query === VIEWER ? await t.h.session() : t.h.bootstrapToken
      const entries = () =>
        store === 'redis' ? t.h.redis.keys('*') : t.h.sql('SELECT token FROM porthor_token_store')
      const before = await entries()
      await t.h.sql(sql)

      const answer = await t.h.ask(query, { token })
      const { requestId } = answer.errors[0]?.extensions ?? {}
      expect(answer).toMatchObject({
        status: 500,
        data: null,
        errors: [
          {
            message: 'Internal error. Report it with its requestId, which is in the log too.',
            extensions: { code: 'INTERNAL_SERVER_ERROR', requestId: expect.stringMatching(/^[\da-f-]{36}$/) },
          },
        ],
      })
      expect(JSON.stringify(answer.errors[0]?.extensions)).not.toMatch(INTERNALS)
      expect(t.h.logLines).toContainEqual(
        expect.objectContaining({
          level: 50,
          requestId,
          err: expect.objectContaining({ stack: expect.any(String) }),
        }),
      )
      expect(t.h.logLines).toContainEqual(
        expect.objectContaining({ msg: 'operation', requestId, outcome: 'INTERNAL_SERVER_ERROR' }),
      )
      expect(await entries()).toEqual(before)
    },
  )
})

describe('a response with errors', () => {
  const api = usePorthor('postgres')
  const bearer = formatToken(generateToken())

  it('has the place of the error in the query', async () => {
    const parse = await api.h.ask('{ viewer ')
    expect(parse.errors).toMatchObject([{ locations: [{ line: 1, column: 10 }] }])
    const validate = await api.h.ask('{ viewers }')
    expect(validate.errors).toMatchObject([{ locations: [{ line: 1, column: 3 }] }])
    const execute = await api.h.ask('{ me: viewer { token { key } } }')
    expect(execute.errors).toMatchObject([{ locations: [{ line: 1, column: 3 }], path: ['me'] }])
  })

  it.each([
    ['no GraphQL', '{', 'GRAPHQL_PARSE_FAILED'],
    ['an unknown field', '{ nope }', 'GRAPHQL_VALIDATION_FAILED'],
    [
      'a value of the wrong type',
      'mutation { notebookToken(minimumLifetime: "1") { key } }',
      'GRAPHQL_VALIDATION_FAILED',
    ],
    [
      'a number that is too large',
      'mutation { notebookToken(minimumLifetime: 2147483648) { key } }',
      'GRAPHQL_VALIDATION_FAILED',
    ],
    ['a missing argument', 'mutation { internalToken { key } }', 'GRAPHQL_VALIDATION_FAILED'],
    ['a missing variable', 'query ($with: Boolean!) { __typename @include(if: $with) }', 'BAD_USER_INPUT'],
    [
      'two operations and no name',
      'query A { __typename } query B { __typename }',
      'OPERATION_RESOLUTION_FAILURE',
    ],
  ])('has a code for %s too', async (_what, query, code) => {
    expect(await api.h.ask(query)).toMatchObject({ code })
  })

  it('keeps what succeeded, under the status of what failed', async () => {
    const token = await api.h.session()
    const { data, errors, status } = await api.h.ask(
      '{ __typename viewer { user { username } } token(key: "nobody") { key } }',
      { token },
    )
    expect(data).toEqual({ __typename: 'Query', viewer: { user: { username: 'wren' } }, token: null })
    expect(errors).toMatchObject([{ path: ['token'], extensions: { code: 'NOT_FOUND' } }])
    expect(status).toBe(200)

    const anonymous = await api.h.ask('{ __typename token(key: "nobody") { key } }')
    expect(anonymous).toMatchObject({ data: { __typename: 'Query', token: null }, status: 401 })
  })

  it('reports the first mutation that failed, and those before it are executed', async () => {
    const { errors, data } = await api.h.ask(
      'mutation { a: clearTokenCache { internal } b: createUserToken(input: { username: "wren", tokenName: "" }) { token } c: clearTokenCache { internal } }',
      { token: api.h.bootstrapToken },
    )
    expect(data).toBeNull()
    expect(errors).toMatchObject([{ path: ['b'], extensions: { code: 'INVALID_TOKEN_NAME' } }])
  })

  it.each([
    ['as a scope', `mutation { internalToken(service: "a", scopes: ["${bearer}"]) { key } }`],
    ['as a key', `{ token(key: "${bearer}") { key } }`],
    [
      'as a username',
      `mutation { createUserToken(input: { username: "${bearer}", tokenName: "a" }) { token } }`,
    ],
    ['as a number', `mutation { notebookToken(minimumLifetime: "${bearer}") { key } }`],
    ['as a field', `{ ${bearer} }`],
    ['as the operation to run', 'query A { __typename } query B { __typename }'],
  ])('does not repeat a bearer string that was sent %s', async (_what, query) => {
    const admin = await api.h.session('ada', ['admin:token'])
    const response = await fetch(api.h.url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${admin}` },
      body: JSON.stringify({ query, operationName: query.startsWith('query A') ? bearer : undefined }),
    })
    const text = await response.text()
    expect(JSON.parse(text)).toHaveProperty('errors')
    expect(text).not.toContain(bearer)
    expect(text).not.toContain(bearer.slice(-22))
  })

  it('does not repeat a bearer string that was sent as a variable', async () => {
    const answer = await api.h.ask(
      'mutation ($seconds: Int) { notebookToken(minimumLifetime: $seconds) { key } }',
      {
        variables: { seconds: bearer },
      },
    )
    expect(answer.code).toBe('BAD_USER_INPUT')
    expect(JSON.stringify(answer.errors)).not.toContain(bearer.slice(-22))
  })

  it.each([
    ['cut short', `{"query": "{ __typename }", "variables": { "token": "${bearer}" `],
    ['no JSON at all', bearer],
  ])('does not repeat a body that is %s', async (_what, body) => {
    const response = await fetch(api.h.url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body,
    })
    expect(response.status).toBe(400)
    expect(await response.json()).toEqual({
      errors: [{ message: 'POST body sent invalid JSON.', extensions: { code: 'BAD_REQUEST' } }],
    })
  })
})
