import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openPorthor, type Porthor } from '../../support/porthor/porthor.ts'
import { loadGafaelfawrRows, readFixture } from '../../support/stores/gafaelfawr.ts'
import { dataOf, documentUnder } from '../../support/tokens/trees.ts'
import { TestClock } from '../../support/waiting/test-clock.ts'

// What a running Gafaelfawr 15.4 left behind, in the hands of Porthor's administration; and what Porthor makes
// of it keeps to Gafaelfawr's formats.

const [ALICE, BOB] = ['DYJMtDJMJv-msH3zwdDXAA', 'Qyc9006p5ZiNDh6JB20rdw']
const CHILDREN = {
  empty: '5kCmYPC7u2iV-J7QTMJQ4Q',
  cutouts: '9qjYzH1ETZipYN06Zwl4Fw',
  notebook: 'AmRxdVYCi-kNCzeOloBLxg',
  tap: 'R9KmmMH-XKiH_o1MA3t7dQ',
}
const GRANDCHILD = 'zZJbndBRmWzymKpmxbg28w'

describe.each(['redis', 'postgres'] as const)(
  "a Gafaelfawr's tokens, with the token store in %s,",
  (store) => {
    let h: Porthor

    beforeEach(async () => {
      const secret = (await readFixture('fernet.key')).trim()
      h = await openPorthor({
        store,
        env: { SESSION_SECRET: secret },
        clock: new TestClock(new Date('2026-11-22T18:30:00Z')),
      })
      const client = new pg.Client(h.env.DATABASE_URL)
      await client.connect()
      await loadGafaelfawrRows(client)
      await client.end()
      for (const line of (await readFixture('redis.tsv')).trim().split('\n')) {
        const [redisKey = '', ttl = '', value = ''] = line.split('\t')
        if (store === 'redis') {
          await (ttl === '-1'
            ? h.redis.set(redisKey, value)
            : h.redis.set(redisKey, value, 'EX', Number(ttl)))
        } else {
          await h.sql('INSERT INTO porthor_token_store SELECT $1, $2, expires FROM token WHERE token = $1', [
            redisKey.slice('token:'.length),
            value,
          ])
        }
      }
    })
    afterEach(async () => {
      await h.close()
      expect(h.logLines.filter(({ level }) => level >= 40)).toEqual([])
    })

    it('are listed as a tree, with their history', async () => {
      const query = `{ tokens(username: "alice", type: USER) { totalCount nodes {
      key tokenName scopes createdAt expiresAt lastUsedAt
      children { totalCount nodes { key service scopes children { nodes { key parent { key } } } } }
      changes { nodes { action actor ipAddress eventTime oldScopes expiresChanged } } } } }`
      const lent = (key: string, service: string | null, scopes: string[], below: object[] = []) => ({
        key,
        service,
        scopes,
        children: { nodes: below },
      })

      expect(await dataOf(h, query)).toEqual({
        tokens: {
          totalCount: 1,
          nodes: [
            {
              key: ALICE,
              tokenName: 'laptop token',
              scopes: ['exec:notebook', 'read:all', 'read:tap', 'user:token'],
              createdAt: '2026-11-22T18:24:12.000Z',
              expiresAt: '2026-12-12T18:24:12.000Z',
              lastUsedAt: null,
              children: {
                totalCount: 4,
                nodes: [
                  lent(
                    CHILDREN.cutouts,
                    'vo-cutouts',
                    ['read:all', 'read:tap'],
                    [{ key: GRANDCHILD, parent: { key: CHILDREN.cutouts } }],
                  ),
                  lent(CHILDREN.empty, 'empty', []),
                  lent(CHILDREN.tap, 'tap', ['read:all']),
                  lent(CHILDREN.notebook, null, ['exec:notebook', 'read:all', 'read:tap', 'user:token']),
                ],
              },
              changes: {
                nodes: [
                  {
                    action: 'CREATE',
                    actor: '<bootstrap>',
                    ipAddress: '127.0.0.1',
                    eventTime: '2026-11-22T18:24:12.000Z',
                    oldScopes: null,
                    expiresChanged: false,
                  },
                ],
              },
            },
          ],
        },
      })
    })

    it('are found in the history by user, key and address', async () => {
      const count = async (filter: string) => {
        const { tokenChanges } = await dataOf<{ tokenChanges: { totalCount: number } }>(
          h,
          `{ tokenChanges(filter: ${filter}) { totalCount } }`,
        )
        return tokenChanges.totalCount
      }
      expect(await count('{username: "alice"}')).toBe(6)
      expect(await count(`{key: "${ALICE}"}`)).toBe(5)
      expect(await count('{ipAddress: "127.0.0.0/8"}')).toBe(11)
      expect(await count('{actor: "<bootstrap>", until: "2026-11-22T18:24:12Z"}')).toBe(2)
    })

    it('are in both stores alike, by an audit', async () => {
      h.clock.advance(60)
      const findings: unknown[] = []
      for await (const finding of h.context.services.audit.run({ fix: true })) findings.push(finding)
      expect(findings).toEqual([])
    })

    it('are modified as Gafaelfawr would write it: rows, records and history', async () => {
      await dataOf(
        h,
        `mutation { modifyToken(key: "${ALICE}", input: {
      tokenName: "Ünï ☃ \\"q\\"", scopes: ["read:tap", "exec:notebook"], expiresAt: "2026-12-01T00:00:00.900Z" }) { key } }`,
      )
      const [row] = await h.sql<{ row: string }>(
        `SELECT concat_ws('|', token, username, token_type, token_name, scopes, service, created, last_used, expires) AS row
       FROM token WHERE token = $1`,
        [ALICE],
      )
      expect(row?.row).toBe(
        `${ALICE}|alice|user|Ünï ☃ "q"|exec:notebook,read:tap|2026-11-22 18:24:12|2026-12-01 00:00:00`,
      )
      const documents = (await readFixture('decrypted.jsonl'))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { redis_key: string; plaintext: string })
      for (const { redis_key: redisKey, plaintext } of documents) {
        const key = redisKey.slice('token:'.length)
        const isBelow = [ALICE, GRANDCHILD, ...Object.values(CHILDREN)].includes(key)
        const scopes = (JSON.parse(plaintext) as { scopes: string[] }).scopes.filter(
          (scope) => scope === 'read:tap' || scope === 'exec:notebook',
        )
        const expected = isBelow
          ? plaintext
              .replace(/"scopes":\[.*?\]/, `"scopes":${JSON.stringify(scopes)}`)
              .replace('"expires":1797099852', `"expires":${Date.UTC(2026, 11, 1) / 1000}`)
          : plaintext
        expect(await storedDocument(key)).toBe(expected)
      }
      const edits = await h.sql<{ row: object }>(
        `SELECT to_jsonb(change) - 'id' AS row FROM token_change_history AS change
       WHERE action = 'edit' AND token = ANY ($1) ORDER BY id`,
        [[ALICE, GRANDCHILD]],
      )
      const common = { username: 'alice', actor: '<bootstrap>', action: 'edit', ip_address: '127.0.0.1' }
      expect(edits.map(({ row: edit }) => edit)).toEqual([
        {
          ...common,
          token: ALICE,
          token_type: 'user',
          token_name: 'Ünï ☃ "q"',
          parent: null,
          scopes: 'exec:notebook,read:tap',
          service: null,
          expires: '2026-12-01T00:00:00',
          old_token_name: 'laptop token',
          old_scopes: 'exec:notebook,read:all,read:tap,user:token',
          old_expires: '2026-12-12T18:24:12',
          event_time: '2026-11-22T18:30:00',
        },
        {
          ...common,
          token: GRANDCHILD,
          token_type: 'internal',
          token_name: null,
          parent: CHILDREN.cutouts,
          scopes: 'read:tap',
          service: 'tap',
          expires: '2026-12-01T00:00:00',
          old_token_name: null,
          old_scopes: null,
          old_expires: '2026-12-12T18:24:12',
          event_time: '2026-11-22T18:30:00',
        },
      ])
    })

    it("are revoked with their trees, and another user's are left", async () => {
      const { revokeToken } = await dataOf<{ revokeToken: { keys: string[] } }>(
        h,
        `mutation { revokeToken(key: "${ALICE}") { keys } }`,
      )
      expect(revokeToken.keys).toHaveLength(6)
      expect([revokeToken.keys[0], revokeToken.keys.at(-1)]).toEqual([GRANDCHILD, ALICE])
      expect(await h.sql(`SELECT DISTINCT username FROM token ORDER BY username`)).toEqual([
        { username: 'bob' },
        { username: 'bot-svc' },
      ])
      expect(await Promise.all([ALICE, GRANDCHILD, ...Object.values(CHILDREN)].map(storedDocument))).toEqual(
        Array.from({ length: 6 }),
      )
      expect(await storedDocument(BOB)).toBeDefined()
      const [last] = await h.sql<{ row: object }>(
        `SELECT to_jsonb(change) AS row FROM token_change_history AS change ORDER BY id DESC LIMIT 1`,
      )
      expect(last?.row).toEqual({
        id: 17,
        token: ALICE,
        username: 'alice',
        token_type: 'user',
        token_name: 'laptop token',
        parent: null,
        scopes: 'exec:notebook,read:all,read:tap,user:token',
        service: null,
        expires: '2026-12-12T18:24:12',
        actor: '<bootstrap>',
        action: 'revoke',
        old_token_name: null,
        old_scopes: null,
        old_expires: null,
        ip_address: '127.0.0.1',
        event_time: '2026-11-22T18:30:00',
      })
    })

    const storedDocument = (key: string) => documentUnder(h, store, key)
  },
)
