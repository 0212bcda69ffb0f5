import { describe, expect, it } from 'vitest'
import { parseToken } from '../../../../src/domain/token.ts'
import { usePorthor } from '../../../support/porthor/use-porthor.ts'
import { fieldOf } from '../../../support/requests/graphql.ts'

const INTERNAL = 'mutation Cutouts { internalToken(service: "tap", scopes: ["read:all"]) { key expiresAt } }'

describe.each(['redis', 'postgres'] as const)('the log over %s', (store) => {
  const api = usePorthor(store)
  /** What was logged under `msg` while `work` ran. */
  const linesOf = async (msg: string, work: () => Promise<unknown>) => {
    const first = api.h.logLines.length
    await work()
    return api.h.logLines.slice(first).filter((line) => line.msg === msg)
  }

  it('has one line for an operation: who sent it, what it is, its outcome, and its duration', async () => {
    const token = await api.h.session()
    const { key } = parseToken(token)
    const lines = await linesOf('operation', async () => {
      for (let time = 0; time < 2; time++) await api.h.ask(INTERNAL, { token })
      await api.h.ask('mutation { clearTokenCache { internal } }', { token: api.h.bootstrapToken })
      await api.h.ask(INTERNAL, { token })
    })
    const common = {
      level: 30,
      requestId: expect.stringMatching(/^[\da-f]{8}-[\da-f-]{27}$/),
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      ipAddress: '127.0.0.1',
      outcome: 'ok',
      durationMs: expect.any(Number),
      msg: 'operation',
    }
    const cutouts = { ...common, operationName: 'Cutouts', tokenKey: key, username: 'wren' }
    expect(lines).toEqual([
      { ...cutouts, source: 'new' },
      { ...cutouts, source: 'cache' },
      { ...common, operationName: null, tokenKey: '<bootstrap>', username: '<bootstrap>' },
      { ...cutouts, source: 'database' },
    ])
    expect(new Set(lines.map(({ requestId }) => requestId)).size).toBe(4)
    for (const { durationMs } of lines) {
      expect(durationMs).toBeGreaterThan(0)
      expect(durationMs).toBeLessThan(30_000)
    }
  })

  it('names the operation that was run, of several in a document', async () => {
    const ask = (operationName: string) =>
      fetch(api.h.url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ query: 'query A { __typename } query B { __typename }', operationName }),
      })
    const lines = await linesOf('operation', () => ask('B'))
    expect(lines.map(({ operationName }) => operationName)).toEqual(['B'])
  })

  it('has the error of a failed operation, and its user if that is known', async () => {
    const token = await api.h.session()
    const lines = await linesOf('operation', async () => {
      await api.h.ask('query None { viewer { token { key } } }')
      await api.h.ask('query Bad { viewer { token { key } } }', { token: 'gt-x' })
      await api.h.ask('mutation Denied { clearTokenCache { internal } }', { token })
      await api.h.ask('mutation Invalid { internalToken(service: "") { key } }', { token })
    })
    const { key: tokenKey } = parseToken(token)
    const nobody = { tokenKey: undefined, username: undefined }
    const wren = { tokenKey, username: 'wren' }
    expect(
      lines.map(({ operationName, outcome, tokenKey, username }) => ({
        operationName,
        outcome,
        tokenKey,
        username,
      })),
    ).toEqual([
      { operationName: 'None', outcome: 'UNAUTHENTICATED', ...nobody },
      { operationName: 'Bad', outcome: 'UNAUTHENTICATED', ...nobody },
      { operationName: 'Denied', outcome: 'PERMISSION_DENIED', ...wren },
      { operationName: 'Invalid', outcome: 'INVALID_SERVICE', ...wren },
    ])
  })

  it.each([
    ['what is no GraphQL', JSON.stringify({ query: '{' }), 'GRAPHQL_PARSE_FAILED', /^Syntax Error/],
    [
      'what is not valid',
      JSON.stringify({ query: '{ nope }' }),
      'GRAPHQL_VALIDATION_FAILED',
      /^Cannot query/,
    ],
    ['what is no JSON', '{', 'BAD_REQUEST', /JSON/],
    [
      'a bearer string in a document',
      JSON.stringify({ query: `{ gt-${'a'.repeat(22)}.${'b'.repeat(22)} }` }),
      'GRAPHQL_PARSE_FAILED',
      /^Syntax/,
    ],
  ])('has a line for a request of which nothing is executed: %s', async (_what, body, code, reason) => {
    const lines = await linesOf('refused request', () =>
      fetch(api.h.url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body }),
    )
    expect(lines).toMatchObject([
      { level: 30, code, reason: expect.stringMatching(reason), ipAddress: '127.0.0.1' },
    ])
    expect(JSON.stringify(lines)).not.toContain('bbbb')
  })

  it('has a line for a request that is refused by its head, and for one whose body is too large', async () => {
    const lines = await linesOf('refused request', async () => {
      await fetch(api.h.url, { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: '{' })
      await fetch(api.h.url, { method: 'PUT' })
      await fetch(api.h.url, { method: 'POST', body: 'x'.repeat(300_000) })
    })
    expect(lines.map(({ status }) => status)).toEqual([415, 405, 413])
  })

  it('has the reason why a token was refused, which its client does not get', async () => {
    const token = await api.h.session()
    const { key } = parseToken(token)
    const lines = await linesOf('refused token', async () => {
      for (const bad of ['gt-x', `gt-${key}.${'x'.repeat(22)}`, token.replace(key, 'k'.repeat(22))]) {
        await api.h.ask('{ viewer { token { key } } }', { token: bad })
      }
      await api.h.ask('{ viewer { token { key } } }')
    })
    expect(lines.map(({ reason, tokenKey }) => [reason, tokenKey])).toEqual([
      ['malformed', undefined],
      ['wrong secret', key],
      ['unknown', 'k'.repeat(22)],
      ['missing', undefined],
    ])
  })

  it('has at most 60 lines a minute of what strangers cause', async () => {
    const lines = await linesOf('refused request', async () => {
      for (let index = 0; index < 100; index += 1) {
        await fetch(api.h.url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{' })
      }
    })
    expect(lines.length).toBeLessThan(100)
    expect(lines.length).toBeGreaterThan(0)
  })

  it('has a line for each token that is issued, and no line for one that is reused', async () => {
    const token = await api.h.session('wren', ['read:all'])
    const { key: parentKey } = parseToken(token)
    let made: { key: string; expiresAt: string } | undefined
    const lines = await linesOf('created token', async () => {
      made = fieldOf(await api.h.ask(INTERNAL, { token }), 'internalToken')
      await api.h.ask(INTERNAL, { token })
      await api.h.ask(
        'mutation { createUserToken(input: { username: "wren", tokenName: "laptop" }) { token } }',
        { token: api.h.bootstrapToken },
      )
    })
    const [internal, user] = lines
    expect(lines).toHaveLength(2)
    expect(internal).toMatchObject({
      level: 30,
      tokenKey: made?.key,
      tokenType: 'internal',
      username: 'wren',
      scopes: ['read:all'],
      expiresAt: made?.expiresAt,
      parentKey,
      service: 'tap',
    })
    expect(user).toMatchObject({
      tokenType: 'user',
      username: 'wren',
      scopes: [],
      expiresAt: null,
      tokenName: 'laptop',
    })
    expect(user).not.toHaveProperty('parentKey')
  })

  it('has no line for a token that could not be issued', async () => {
    const lines = await linesOf('created token', () =>
      api.h.ask('mutation { createSessionToken(input: { username: "Wren" }) { token } }', {
        token: api.h.bootstrapToken,
      }),
    )
    expect(lines).toEqual([])
  })
})
