import { describe, expect, it, vi } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { type BreakablePorthor, openBreakablePorthor } from '../support/porthor/breakable-porthor.ts'
import type { GraphQLAnswer } from '../support/requests/graphql.ts'

/** Long enough on a busy machine; nothing is decided by it. */
const PATIENT = { timeout: 10_000, interval: 20 }

interface Delegated {
  readonly token: string
  readonly key: string
  readonly source: string
}

const delegated = ({ data, errors }: GraphQLAnswer): Delegated => {
  expect(errors).toEqual([])
  return (data as { delegated: Delegated }).delegated
}

const expectUnavailable = ({ status, errors, data }: GraphQLAnswer): void => {
  expect({ status, data, errors }).toMatchObject({
    status: 503,
    data: null,
    errors: [{ extensions: { code: 'UNAVAILABLE', retryable: true } }],
  })
}

/** One request of each kind, by the name of what it asks. */
const EVERYTHING = {
  'what is cached': 'mutation { internalToken(service: "cached") { token } }',
  'a new internal token': 'mutation { internalToken(service: "new") { token } }',
  'a notebook token': 'mutation { notebookToken { token } }',
  'who one is': '{ viewer { user { username } } }',
}

const askEverything = ({ h, session }: BreakablePorthor) =>
  Promise.all(Object.values(EVERYTHING).map((query) => h.ask(query, { token: session })))

// Each test has stores of its own, and some wait for a bound to pass.
describe.concurrent('Redis,', { timeout: 60_000 }, () => {
  it.for([
    ['is down', (f: BreakablePorthor) => f.redis.kill(), (f: BreakablePorthor) => f.startRedisAgain()],
    [
      'does not answer',
      async (f: BreakablePorthor) => f.redis.pause(),
      async (f: BreakablePorthor) => f.redis.resume(),
    ],
  ] as const)(
    '%s: nothing is decided, cached or not, and then all works again',
    async ([, stop, start], { onTestFinished }) => {
      const f = await openBreakablePorthor('redis', onTestFinished)
      await f.h.ask(EVERYTHING['what is cached'], { token: f.session })
      await stop(f)
      for (const answer of await askEverything(f)) expectUnavailable(answer)
      await start(f)
      await f.ready()
      for (const { errors } of await askEverything(f)) expect(errors).toEqual([])
      await f.expectNothingHalfMade()
      expect(f.errors()).toEqual([])
    },
  )

  it('when it restarts: a request that arrives meanwhile waits for it', async ({ onTestFinished }) => {
    const f = await openBreakablePorthor('redis', onTestFinished)
    const { key } = delegated(await f.lend('tap'))
    await f.redis.kill()
    const asked = f.lend('tap')
    await f.startRedisAgain()
    // Having missed what was broadcast meanwhile, the process may have emptied its cache.
    expect(delegated(await asked)).toMatchObject({ key, source: expect.stringMatching(/^(CACHE|DATABASE)$/) })
  })

  it.for([
    ['is killed', (f: BreakablePorthor) => f.redis.kill(), (f: BreakablePorthor) => f.startRedisAgain()],
    [
      'goes silent',
      async (f: BreakablePorthor) => f.redis.pause(),
      async (f: BreakablePorthor) => f.redis.resume(),
    ],
  ] as const)(
    '%s before it has taken a new token: there is no row, and at most a record that nobody was given',
    async ([, stop, start], { onTestFinished }) => {
      const f = await openBreakablePorthor('redis', onTestFinished)
      const letGo = await f.stopInserts()
      const asked = f.lend('tap')
      await f.waiting(1)
      await stop(f)
      await letGo()
      expectUnavailable(await asked)
      await start(f)
      await f.ready()
      const { key, source } = delegated(await f.lend('tap'))
      expect(source).toBe('NEW')
      const rows = await f.h.sql<{ token: string }>('SELECT token FROM token ORDER BY token')
      expect(rows.map(({ token }) => token)).toEqual([parseToken(f.session).key, key].sort())
      // What was on its way when the silent connection was left may arrive behind its deletion on the next one.
      expect(await f.storeKeys()).toEqual(expect.arrayContaining([parseToken(f.session).key, key]))
      // It could not be told to forget the entry before the bound had passed.
      expect(f.errors()).toEqual(['could not delete token store records of a failed creation'])
    },
  )

  it('when it has no memory left: live tokens are reused, and no token is issued', async ({
    onTestFinished,
  }) => {
    const f = await openBreakablePorthor('redis', onTestFinished)
    const { key } = delegated(await f.lend('tap'))
    await f.redisClient.config('SET', 'maxmemory', '1')
    expectUnavailable(await f.lend('portal'))
    expect(delegated(await f.lend('tap'))).toMatchObject({ key, source: 'CACHE' })
    await f.expectNothingHalfMade()
    await f.redisClient.config('SET', 'maxmemory', '0')
    expect(delegated(await f.lend('portal')).source).toBe('NEW')
    await f.expectNothingHalfMade()
    expect(f.errors()).toEqual([])
  })
})

describe.concurrent.each(['redis', 'postgres'] as const)(
  'PostgreSQL, with the tokens in %s,',
  { timeout: 60_000 },
  (store) => {
    it('when it cannot be reached: no token is issued, and everything works once it can', async ({
      onTestFinished,
    }) => {
      const f = await openBreakablePorthor(store, onTestFinished)
      const { key } = delegated(await f.lend('tap'))
      await f.cable.refuse()
      expectUnavailable(await f.lend('portal'))
      // What the token store alone decides goes on where that is Redis.
      const reused = await f.lend('tap')
      if (store === 'redis') expect(delegated(reused)).toMatchObject({ key, source: 'CACHE' })
      else expectUnavailable(reused)
      await f.cable.pass()
      expect(delegated(await f.lend('portal')).source).toBe('NEW')
      // A subscription that was lost with PostgreSQL clears the cache once more when it is back.
      await vi.waitFor(async () => {
        const { key: again, source } = delegated(await f.lend('tap'))
        expect({ again, source }).toEqual({ again: key, source: 'CACHE' })
      }, PATIENT)
      await f.expectNothingHalfMade()
      expect(f.errors()).toEqual([])
    })

    it('when it stops responding: the response arrives within the time limits, and everything works once it responds', async ({
      onTestFinished,
    }) => {
      const f = await openBreakablePorthor(store, onTestFinished)
      f.cable.stall()
      expectUnavailable(await f.lend('tap'))
      await f.cable.pass()
      expect(delegated(await f.lend('tap')).source).toBe('NEW')
      await f.expectNothingHalfMade()
    })

    it('when it has closed its idle connections: the next request succeeds', async ({ onTestFinished }) => {
      const f = await openBreakablePorthor(store, onTestFinished)
      delegated(await f.lend('tap'))
      const [pooled] = await f.h.sql<{ count: number }>(
        `SELECT count(*)::int FROM pg_stat_activity
       WHERE application_name = 'porthor' AND datname = current_database() AND query NOT LIKE 'LISTEN %'`,
      )
      f.cable.cut()
      const lost = () => f.h.logLines.filter(({ msg }) => msg === 'lost a connection to PostgreSQL')
      await vi.waitFor(() => expect(lost()).toHaveLength(pooled?.count ?? 0), { timeout: 5_000 })
      expect(delegated(await f.lend('portal')).source).toBe('NEW')
      await f.expectNothingHalfMade()
      expect(f.errors()).toEqual([])
    })

    it.for([
      ['by a broken cable', async (f: BreakablePorthor) => f.cable.cut()],
      [
        'by its administrator',
        async ({ h }: BreakablePorthor) => {
          await h.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'porthor' AND datname = current_database()",
          )
        },
      ],
    ] as const)(
      'is cut off in the middle of a creation, %s: it leaves no trace',
      async ([, cut], { onTestFinished }) => {
        const f = await openBreakablePorthor(store, onTestFinished)
        const letGo = await f.stopInserts()
        const asked = f.lend('tap')
        await f.waiting(1)
        await cut(f)
        expectUnavailable(await asked)
        await letGo()
        await f.waiting(0)
        await f.expectNothingHalfMade()
        expect(delegated(await f.lend('tap')).source).toBe('NEW')
        await f.expectNothingHalfMade()
        expect(f.errors()).toEqual([])
      },
    )

    it('when the connection is lost before the commit arrives: nothing is left in either store', async ({
      onTestFinished,
    }) => {
      const f = await openBreakablePorthor(store, onTestFinished)
      const cut = f.cable.stopAt('COMMIT', 'before')
      expectUnavailable(await f.lend('tap'))
      await cut
      await f.expectNothingHalfMade()
      expect(delegated(await f.lend('tap')).source).toBe('NEW')
      await f.expectNothingHalfMade()
      expect(f.errors()).toEqual([])
    })

    it('when the connection is lost before the commit is acknowledged: the committed token is found and returned (rule 21)', async ({
      onTestFinished,
    }) => {
      const f = await openBreakablePorthor(store, onTestFinished)
      const cut = f.cable.stopAt('COMMIT', 'after')
      const { key, source } = delegated(await f.lend('tap'))
      await cut
      expect(source).toBe('NEW')
      expect(new Set(await f.storeKeys())).toEqual(new Set([parseToken(f.session).key, key]))
      expect(delegated(await f.lend('tap'))).toMatchObject({ key, source: 'CACHE' })
      await f.h.restart()
      expect(delegated(await f.lend('tap'))).toMatchObject({ key, source: 'DATABASE' })
      expect(f.errors()).toEqual([])
    })

    it.for([
      ['for no reason that concerns the parent', 'raise_exception'],
      ['for a broken reference of another kind', 'foreign_key_violation'],
      ['for a duplicate', 'unique_violation'],
    ] as const)(
      'refuses the commit %s: that is our fault, and leaves no trace',
      async ([, condition], { onTestFinished }) => {
        const f = await openBreakablePorthor(store, onTestFinished)
        await f.h.sql(`
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE ${condition} USING MESSAGE = 'refused, says the trigger'; END $$;
      CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON token DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION refuse()`)
        const answer = await f.lend('tap')
        expect(answer).toMatchObject({ status: 500, data: null, code: 'INTERNAL_SERVER_ERROR' })
        expect(JSON.stringify(answer.errors)).not.toContain('trigger')
        await f.expectNothingHalfMade()
        await f.h.sql('DROP FUNCTION refuse CASCADE')
        expect(delegated(await f.lend('tap')).source).toBe('NEW')
        await f.expectNothingHalfMade()
        expect(f.errors()).toEqual(['unexpected error'])
      },
    )

    it('when a creation waits too long for a lock: no token is issued, and the next request succeeds', async ({
      onTestFinished,
    }) => {
      const f = await openBreakablePorthor(store, onTestFinished)
      const letGo = await f.hold('SELECT FROM token WHERE token = $1 FOR UPDATE', [parseToken(f.session).key])
      expectUnavailable(await f.lend('tap'))
      await letGo()
      await f.expectNothingHalfMade()
      expect(delegated(await f.lend('tap')).source).toBe('NEW')
      expect(f.errors()).toEqual([])
    })

    it('when it has lost the row of the parent: the error is UNAUTHENTICATED, and a line is logged', async ({
      onTestFinished,
    }) => {
      const f = await openBreakablePorthor(store, onTestFinished)
      const { key } = parseToken(f.session)
      await f.h.sql('DELETE FROM token WHERE token = $1', [key])
      const answer = await f.lend('tap')
      expect(answer).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' })
      expect(answer.headers.get('WWW-Authenticate')).toContain('error="invalid_token"')
      expect(await f.storeKeys()).toEqual([key])
      expect(await f.h.sql('SELECT token FROM token')).toEqual([])
      expect(f.errors()).toEqual([
        'stores are desynchronised: a parent is in the token store but not in the database',
      ])
      const line = f.h.logLines.find(({ level }) => level >= 50)
      expect(line).toMatchObject({ tokenKey: key, username: 'wren' })
    })
  },
)

describe.concurrent.each(['redis', 'postgres'] as const)(
  'a damaged record in %s',
  { timeout: 60_000 },
  (store) => {
    const damage = async ({ h, redisClient }: BreakablePorthor, key: string, value: string) => {
      if (store === 'redis') await redisClient.set(`token:${key}`, value)
      else await h.sql('UPDATE porthor_token_store SET value = $2 WHERE token = $1', [key, value])
    }
    const DAMAGE = [
      ['no ciphertext', () => 'not-a-record'],
      ['the record of another token', (other: string) => other],
    ] as const
    const recordOf = async ({ h, redisClient }: BreakablePorthor, key: string) =>
      store === 'redis'
        ? String(await redisClient.get(`token:${key}`))
        : String((await h.sql('SELECT value FROM porthor_token_store WHERE token = $1', [key]))[0]?.value)

    it.for(DAMAGE)('of a parent, %s: the token is none', async ([, make], { onTestFinished }) => {
      const f = await openBreakablePorthor(store, onTestFinished)
      const { key, secret } = parseToken(f.session)
      const other = parseToken(await f.h.session()).key
      await damage(f, key, make(await recordOf(f, other)))
      expect(await f.lend('tap')).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' })
      expect(f.errors()).toEqual(['token store record is damaged'])
      expect(JSON.stringify(f.h.logLines)).not.toContain(secret)
    })

    it.for(DAMAGE)(
      'of a child, %s: another one is made, and that one is reused',
      async ([, make], { onTestFinished }) => {
        const f = await openBreakablePorthor(store, onTestFinished)
        const lost = delegated(await f.lend('tap'))
        const { key: other } = delegated(await f.lend('portal'))
        await damage(f, lost.key, make(await recordOf(f, other)))
        const { key, source } = delegated(await f.lend('tap'))
        expect({ source, isOther: key !== lost.key }).toEqual({ source: 'NEW', isOther: true })
        expect(delegated(await f.lend('tap'))).toMatchObject({ key, source: 'CACHE' })
        expect(new Set(f.errors())).toEqual(new Set(['token store record is damaged']))
        expect(JSON.stringify(f.h.logLines)).not.toContain(parseToken(lost.token).secret)
      },
    )
  },
)
