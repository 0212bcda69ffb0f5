import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { parseScopes } from '../../../src/domain/scope.ts'
import { parseToken } from '../../../src/domain/token.ts'
import { openPorthor, type Porthor } from '../../support/porthor/porthor.ts'
import { loadGafaelfawrRows, readFixture } from '../../support/stores/gafaelfawr.ts'
import { TestClock } from '../../support/waiting/test-clock.ts'

// What a running Gafaelfawr 15.4 left behind: see the README beside the files.

interface Row {
  readonly token: string
  readonly username: string
  readonly token_type: string
  readonly scopes: string
  readonly service: string | null
  readonly created: string
  readonly expires: string | null
}

const rowsOf = async <T>(name: string): Promise<T[]> =>
  (await readFixture(name))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

const bearers = (await readFixture('tokens.txt'))
  .trim()
  .split('\n')
  .map((line) => line.split('=') as [what: string, bearer: string])
const bearerOf = new Map(bearers.map(([, bearer]) => [parseToken(bearer).key as string, bearer]))
const rows = await rowsOf<Row>('token.jsonl')
const parentOf = new Map(
  (await rowsOf<{ child: string; parent: string }>('subtoken.jsonl')).map(({ child, parent }) => [
    child,
    parent,
  ]),
)
const lent = rows.filter(({ token }) => parentOf.has(token))

const iso = (text: string | null) => text && new Date(`${text}Z`).toISOString()

const VIEWER =
  '{ viewer { token { key username type scopes createdAt expiresAt } user { username name groups { name } } } }'
const INTERNAL = `mutation ($service: String!, $scopes: [String!]!) {
  answer: internalToken(service: $service, scopes: $scopes) { token source key username service scopes expiresAt }
}`
const NOTEBOOK = 'mutation { answer: notebookToken { token source key username service scopes expiresAt } }'

describe.each(['redis', 'postgres'] as const)("a Gafaelfawr's data, with the token store in %s,", (store) => {
  let h: Porthor

  beforeAll(async () => {
    const secret = (await readFixture('fernet.key')).trim()
    h = await openPorthor({
      store,
      env: {
        // Gafaelfawr gives every scope of its parent to a notebook token.
        SESSION_SECRET: secret,
        UNDELEGABLE_SCOPES: 'none',
      },
      clock: new TestClock(new Date('2026-11-22T18:30:00Z')),
    })
    const client = new pg.Client(h.env.DATABASE_URL)
    await client.connect()
    await loadGafaelfawrRows(client)
    await client.end()
    for (const line of (await readFixture('redis.tsv')).trim().split('\n')) {
      const [redisKey = '', ttl = '', value = ''] = line.split('\t')
      if (store === 'redis') {
        await (ttl === '-1' ? h.redis.set(redisKey, value) : h.redis.set(redisKey, value, 'EX', Number(ttl)))
      } else {
        await h.sql('INSERT INTO porthor_token_store SELECT $1, $2, expires FROM token WHERE token = $1', [
          redisKey.slice('token:'.length),
          value,
        ])
      }
    }
  })
  afterEach(() => {
    expect(h.logLines.splice(0).filter(({ level }) => level >= 40)).toEqual([])
  })
  afterAll(() => h.close())

  const countRows = async () => {
    const [counts] = await h.sql(
      `SELECT (SELECT count(*) FROM token)::int AS tokens, (SELECT count(*) FROM subtoken)::int AS children,
              (SELECT count(*) FROM token_change_history)::int AS changes`,
    )
    return counts
  }

  it('accepts every bearer string', async () => {
    expect(bearers).toHaveLength(rows.length)
    for (const [what, token] of bearers) {
      const answer = await h.ask(VIEWER, { token })
      const row = rows.find((each) => each.token === parseToken(token).key)

      expect(answer.errors, what).toEqual([])
      expect(answer.data?.viewer, what).toMatchObject({
        token: {
          key: row?.token,
          username: row?.username,
          type: row?.token_type.toUpperCase(),
          scopes: parseScopes(row?.scopes ?? ''),
          createdAt: iso(row?.created ?? null),
          expiresAt: iso(row?.expires ?? null),
        },
        user: { username: row?.username },
      })
    }
  })

  it('has the recorded user information, with groups in their order', async () => {
    const { data } = await h.ask(VIEWER, { token: bearerOf.get('DYJMtDJMJv-msH3zwdDXAA') ?? '' })

    expect(data?.viewer).toMatchObject({
      user: {
        username: 'alice',
        name: 'Alice Example',
        groups: [{ name: 'alice' }, { name: 'g_science' }, { name: 'g_ops' }],
      },
    })
  })

  it('reuses a token that Gafaelfawr issued, from the database and then from the cache', async () => {
    expect(lent).toHaveLength(8)
    const before = await countRows()
    for (const { token: key, token_type: type, service, scopes, username, expires } of lent) {
      const request = {
        token: bearerOf.get(parentOf.get(key) ?? '') ?? '',
        ...(type === 'internal' && { variables: { service, scopes: parseScopes(scopes) } }),
      }
      const query = type === 'internal' ? INTERNAL : NOTEBOOK
      const facts = {
        token: bearerOf.get(key),
        key,
        username,
        service,
        scopes: parseScopes(scopes),
        expiresAt: iso(expires),
      }

      for (const source of ['DATABASE', 'CACHE']) {
        const { data, errors } = await h.ask(query, request)
        expect(errors).toEqual([])
        expect(data?.answer).toEqual({ ...facts, source })
      }
    }
    expect(await countRows()).toEqual(before)
  })

  it('can be extended: what Porthor issues continues the numbers, and is written in the same way', async () => {
    const token = bearerOf.get('Qyc9006p5ZiNDh6JB20rdw') ?? ''
    const { data, errors } = await h.ask(INTERNAL, {
      token,
      variables: { service: 'new', scopes: ['read:all'] },
    })
    expect(errors).toEqual([])
    const made = data?.answer as { token: string; key: string }

    expect(
      await h.sql('SELECT id, parent, actor FROM token_change_history WHERE token = $1', [made.key]),
    ).toEqual([{ id: 12, parent: 'Qyc9006p5ZiNDh6JB20rdw', actor: 'bob' }])
    expect((await h.stored(made.token)).userInfo).toEqual((await h.stored(token)).userInfo)
  })

  it('refuses each bearer string with another secret', async () => {
    for (const [, bearer] of bearers) {
      expect((await h.ask(VIEWER, { token: `${bearer.slice(0, -22)}${'A'.repeat(22)}` })).code).toBe(
        'UNAUTHENTICATED',
      )
    }
    expect(h.logLines.splice(0).filter(({ level }) => level >= 40)).toHaveLength(bearers.length)
  })

  it('has tokens that expire at their time', async () => {
    h.clock.advance(31 * 86_400)
    for (const [what, token] of bearers) {
      const isEndless = rows.find((each) => each.token === parseToken(token).key)?.expires === null
      expect((await h.ask(VIEWER, { token })).code, what).toBe(isEndless ? undefined : 'UNAUTHENTICATED')
    }
  })
})
