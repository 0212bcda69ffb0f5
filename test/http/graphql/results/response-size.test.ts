import { describe, expect, it } from 'vitest'
import { usePorthor } from '../../../support/porthor/use-porthor.ts'
import { fieldOf } from '../../../support/requests/graphql.ts'
import { send } from '../../../support/requests/http.ts'

const LONG = 'a'.repeat(125)

const repeated = (count: number, of: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => of(index)).join(' ')

describe.each(['', '?by=yoga'])('a response, to a request to /graphql%s', (search) => {
  const api = usePorthor('postgres')
  const ask = async (query: string, token?: string) => {
    const { status, body } = await send(
      `${api.h.url}${search}`,
      {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) },
      },
      [JSON.stringify({ query })],
    )
    return { status, body }
  }
  const refused = {
    data: null,
    errors: [
      {
        message: expect.stringContaining('would be larger'),
        extensions: { code: 'RESPONSE_TOO_LARGE', maximumBytes: 8_000_000, maximumValues: 200_000 },
      },
    ],
  }
  /** So many rows of history as long as any can be. */
  const plantHistory = async (rows: number) => {
    await api.h.sql('DELETE FROM token_change_history')
    await api.h.sql(
      `INSERT INTO token_change_history (token, username, token_type, scopes, service, actor, action, event_time)
       SELECT 'k' || n, 'wren', 'internal', $1, '', 'wren', 'create', now() FROM generate_series(1, $2) AS n`,
      [repeated(60, (n) => `read:${'x'.repeat(30)}${n}`).replaceAll(' ', ','), rows],
    )
  }
  const pages = (count: number, fields: string) =>
    `{ ${repeated(count, (n) => `p${n}: tokenChanges(first: 500) { nodes { ${fields} } }`)} }`

  it('of rows is given up to 8 MB, and not beyond', async () => {
    await plantHistory(500)
    const within = await ask(pages(6, 'scopes'), api.h.bootstrapToken)
    expect(within.status).toBe(200)
    expect(Buffer.byteLength(within.body)).toBeGreaterThan(6_000_000)
    expect(JSON.parse(within.body)).not.toHaveProperty('errors')
    const beyond = await ask(pages(8, 'scopes'), api.h.bootstrapToken)
    expect(beyond.status).toBe(200)
    expect(JSON.parse(beyond.body)).toEqual(refused)
  })

  it.each([
    [
      'long aliases of introspection',
      `{ __schema { types { fields { ${repeated(30, (n) => `${LONG}${n}: name`)} args { name type { fields { name args { name } } } } } } } }`,
    ],
    [
      'long aliases of __typename',
      `{ __schema { types { fields { ${repeated(28, (n) => `${LONG}${n}: __typename`)} args { x: type { fields { y: __typename args { name } } } } } } } }`,
    ],
    [
      'many values of introspection',
      `{ __schema { types { ${repeated(15, (n) => `a${n}: fields { type { ${repeated(1, () => 'fields { name }')} } }`)} ${repeated(15, (n) => `b${n}: fields { args { type { fields { name } } } }`)} } } }`,
    ],
    [
      'long aliases of lists of introspection',
      `{ __schema { types { ${repeated(30, (n) => `${LONG}${n}: fields { name description args { name description type { fields { name description } } } }`)} } } }`,
    ],
  ])('of %s is refused while it is built, or is small', async (_what, query) => {
    const { body } = await ask(query)
    expect(Buffer.byteLength(body)).toBeLessThanOrEqual(8_000_000)
    const { data } = JSON.parse(body) as { data: object | null }
    if (data === null) expect(JSON.parse(body)).toEqual(refused)
  })

  it('of mutations that becomes too large is refused, and no later mutation is executed', async () => {
    await plantHistory(1)
    const token = await api.h.session()
    const keys = repeated(29, (n) => `k${n}: keys(first: 10000)`)
    await api.h.sql(
      `INSERT INTO token (token, username, token_type, scopes, service, created, expires)
       SELECT left(md5(n::text), 22), 'many', 'service', '', '', now(), now() + interval '1 day'
       FROM generate_series(1, 12000) AS n`,
    )
    const { body } = await ask(
      `mutation { revokeTokens(filter: { username: "many" }, dryRun: true) { ${keys} l: keys(first: 10000) } revokeToken(key: "${token.slice(3, 25)}") { keys } }`,
      api.h.bootstrapToken,
    )
    expect(JSON.parse(body)).toMatchObject({
      data: null,
      errors: [{ extensions: { code: 'RESPONSE_TOO_LARGE' } }],
    })
    expect((await api.h.ask('{ viewer { token { key } } }', { token })).errors).toEqual([])
  })

  it('has at most a hundred errors, however many fields fail', async () => {
    const { token } = fieldOf<{ token: string }>(
      await api.h.ask('mutation { createSessionToken(input: { username: "few" }) { token } }', {
        token: api.h.bootstrapToken,
      }),
      'createSessionToken',
    )
    await api.h.sql(
      `WITH child AS (
         INSERT INTO token (token, username, token_type, scopes, service, created, expires)
         SELECT left(md5('few' || n), 22), 'few', 'internal', '', 'tap', now(), now() + interval '1 day'
         FROM generate_series(1, 300) AS n ON CONFLICT DO NOTHING RETURNING token
       )
       INSERT INTO subtoken SELECT token, $1 FROM child`,
      [token.slice(3, 25)],
    )
    const { body, status } = await ask(
      '{ tokens(username: "few", type: INTERNAL, first: 300) { nodes { parent { children(first: 501) { totalCount } } } } token(key: "none") { key } }',
      api.h.bootstrapToken,
    )
    const { errors } = JSON.parse(body) as { errors: { extensions: { code: string } }[] }
    expect([status, errors.length]).toEqual([200, 100])
  })
})
