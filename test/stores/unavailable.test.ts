import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { Redis } from 'ioredis'
import pg from 'pg'
import {
  afterAll,
  beforeAll,
  beforeEach,
  describe,
  expect,
  inject,
  it,
  onTestFinished,
  type TestContext,
  vi,
} from 'vitest'
import { PorthorError, UnavailableError } from '../../src/domain/errors.ts'
import { Fernet, generateFernetKey } from '../../src/lib/fernet.ts'
import { parsePostgresUrl } from '../../src/lib/postgres-url.ts'
import { parseRedisUrl } from '../../src/lib/redis-url.ts'
import { openPool, openPrisma } from '../../src/stores/database/prisma.ts'
import { TokenDatabase } from '../../src/stores/database/token-database.ts'
import { openRedis } from '../../src/stores/redis/client.ts'
import { EncryptedRecords } from '../../src/stores/token-store/encrypted-records.ts'
import { RedisTokenStore } from '../../src/stores/token-store/redis-token-store.ts'
import { callStore, isUnavailable } from '../../src/stores/unavailable.ts'
import { recordingLog } from '../support/checks/log.ts'
import { freshDatabase, startRedis, type TestDatabase } from '../support/stores/stores.ts'
import { aSession, aToken, at, LIMITS, NOW } from '../support/tokens/token-data.ts'
import { TestClock } from '../support/waiting/test-clock.ts'

const { log } = recordingLog()
const clock = new TestClock(NOW)
const records = new EncryptedRecords({ fernet: new Fernet([generateFernetKey()]), clock, log })

const outOfReach = (store: 'redis' | 'postgres') =>
  expect.objectContaining({ name: 'PorthorError', code: 'UNAVAILABLE', store, cause: expect.anything() })

/** Registers what undoes a step of a test; the test's own, since tests that wait run side by side. */
type OnTestFinished = TestContext['onTestFinished']

describe.concurrent('Redis is out of reach', () => {
  /** A Redis of one's own, and our store on it. */
  async function open(onTestFinished: OnTestFinished, ...args: string[]) {
    const server = await startRedis({ args })
    onTestFinished(() => server.kill())
    const redis = openRedis(parseRedisUrl(server.url), log)
    onTestFinished(() => redis.disconnect())
    return { server, redis, store: new RedisTokenStore({ redis, records, clock }) }
  }

  const data = aSession()
  const { key } = data.token

  /** Everything that the store can be asked. */
  const askAll = (store: RedisTokenStore) =>
    Promise.allSettled([
      store.find(key),
      store.put(data),
      store.delete([key]),
      store.inspect([key]),
      store.ping(),
    ])

  const allOutOfReach = Array.from({ length: 5 }, () => ({ status: 'rejected', reason: outOfReach('redis') }))

  it('when it was killed, until another is in its place', async ({ expect, onTestFinished }) => {
    const { server, store } = await open(onTestFinished)
    await store.put(data)
    await server.kill()
    expect(await askAll(store)).toEqual(allOutOfReach)

    const next = await startRedis({ port: server.port })
    onTestFinished(() => next.kill())
    await store.put(data)
    expect(await store.find(key)).toEqual(data)
  })

  it('when it is paused, until it continues', async ({ expect, onTestFinished }) => {
    const { server, store } = await open(onTestFinished)
    await store.put(aSession({ token: aToken('kept') }))
    server.pause()
    expect(await askAll(store)).toEqual(allOutOfReach)

    server.resume()
    expect(await store.find(aToken('kept').key)).toMatchObject({ username: 'wren' })
  })

  it('when it was never there', async ({ expect, onTestFinished }) => {
    const redis = openRedis(parseRedisUrl('redis://127.0.0.1:1'), log)
    onTestFinished(() => redis.disconnect())

    expect(await askAll(new RedisTokenStore({ redis, records, clock }))).toEqual(allOutOfReach)
  })

  it.for([
    ['has no room', ['--maxmemory', '1'], 'OOM'],
    ['is a replica that may not write', ['--replicaof', '127.0.0.1', '1'], 'READONLY'],
    ['has too few replicas', ['--min-replicas-to-write', '1'], 'NOREPLICAS'],
  ] as const)('for writing when it %s', async ([_what, args, word], { expect, onTestFinished }) => {
    const { store } = await open(onTestFinished, ...args)

    await expect(store.put(data)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      cause: { message: expect.stringMatching(`^${word}`) },
    })
    expect(await store.find(key)).toBe(undefined)
  })

  it.for([
    ['has no room any more', 'maxmemory', '1'],
    ['has lost its replicas', 'min-replicas-to-write', '1'],
  ] as const)('for replacing when it %s', async ([_what, setting, value], { expect, onTestFinished }) => {
    const { redis, store } = await open(onTestFinished)
    await store.put(data)
    const entry = await store.findRecord(key)
    if (!entry) throw new Error('it was put')
    await redis.config('SET', setting, value)

    await expect(store.replace(entry, data)).rejects.toMatchObject({ code: 'UNAVAILABLE', store: 'redis' })
    expect(await store.findRecord(key)).toEqual(entry)
  })

  it('when it is a replica that has lost its master and must not respond from memory', async ({
    expect,
    onTestFinished,
  }) => {
    const { redis, store } = await open(onTestFinished)
    await redis.config('SET', 'replica-serve-stale-data', 'no')
    await redis.replicaof('127.0.0.1', 1)

    await expect(store.find(key)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      cause: { message: expect.stringMatching(/^MASTERDOWN/) },
    })
  })

  it('when it is busy with a script, until that ends', async ({ expect, onTestFinished }) => {
    const { server, store } = await open(onTestFinished, '--busy-reply-threshold', '1')
    const [scripter, killer] = [new Redis(server.url), new Redis(server.url)]
    onTestFinished(() => {
      scripter.disconnect()
      killer.disconnect()
    })
    await Promise.all([store.ping(), scripter.ping(), killer.ping()])
    const script = scripter.eval('while true do end', 0).catch((error: Error) => error.message)
    const busy = { code: 'UNAVAILABLE', cause: { message: expect.stringMatching(/^BUSY/) } }
    await vi.waitFor(() => expect(store.find(key)).rejects.toMatchObject(busy), { timeout: 10_000 })

    await killer.script('KILL')
    expect(await script).toContain('killed')
    expect(await store.find(key)).toBe(undefined)
  })

  it('but not when it refuses a command as wrong', async ({ expect, onTestFinished }) => {
    const { redis, store } = await open(onTestFinished)
    await store.put(data)
    const asked = callStore('redis', () => redis.incr(`token:${key}`))

    await expect(asked).rejects.toThrow(/^ERR value is not an integer/)
    await expect(asked).rejects.not.toBeInstanceOf(PorthorError)
  })
})

interface Driver {
  readonly query: (sql: string) => Promise<unknown>
  readonly close: () => Promise<void>
}

const drivers: [string, (url: string) => Driver][] = [
  [
    'pg',
    (url) => {
      const pool = openPool(parsePostgresUrl(url), log, 2)
      return { query: (sql) => callStore('postgres', () => pool.query(sql)), close: () => pool.end() }
    },
  ],
  [
    'Prisma',
    (url) => {
      const prisma = openPrisma(parsePostgresUrl(url), log)
      return {
        query: (sql) => callStore('postgres', () => prisma.$queryRawUnsafe(sql)),
        close: () => prisma.$disconnect(),
      }
    },
  ],
]

describe.concurrent('a PostgreSQL that keeps one waiting is out of reach', () => {
  it.for(drivers)('by way of %s, when it says nothing', async ([_name, open], { expect, onTestFinished }) => {
    const sockets: Socket[] = []
    const silent = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const driver = open(`postgresql://x:y@127.0.0.1:${port}/z`)
    onTestFinished(async () => {
      for (const socket of sockets) socket.destroy()
      silent.close()
      await driver.close()
    })

    await expect(driver.query('SELECT 1')).rejects.toEqual(outOfReach('postgres'))
  })

  it('when every connection of the pool is taken', async ({ expect, onTestFinished }) => {
    const pool = openPool(parsePostgresUrl(inject('postgresUrl')), log, 1)
    const busy = await pool.connect()
    onTestFinished(async () => {
      busy.release()
      await pool.end()
    })

    await expect(callStore('postgres', () => pool.query('SELECT 1'))).rejects.toEqual(outOfReach('postgres'))
  })
})

describe('PostgreSQL', () => {
  let testDatabase: TestDatabase
  let sql: pg.Pool

  beforeAll(async () => {
    testDatabase = await freshDatabase()
    sql = new pg.Pool({ connectionString: testDatabase.url, max: 3 })
  })
  beforeEach(async () => {
    await sql.query('TRUNCATE token, subtoken, token_change_history')
  })
  afterAll(async () => {
    await sql.end()
    await testDatabase.drop()
  })

  /** The database's URL with settings of the session that take precedence over ours, to wait less long. */
  const urlWith = (settings: Record<string, string> = {}): string => {
    const url = new URL(testDatabase.url)
    for (const [name, value] of Object.entries(settings)) url.searchParams.set(name, value)
    return url.href
  }

  /** Ends the connections of this database for which `condition` holds, once there is one. */
  const terminate = (condition: string): Promise<void> =>
    vi.waitFor(
      async () => {
        const { rowCount } = await sql.query(
          `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
           WHERE datname = current_database() AND pid <> pg_backend_pid() AND ${condition}`,
        )
        expect(rowCount).toBeGreaterThan(0)
      },
      { interval: 5, timeout: 5_000 },
    )

  describe.each(drivers)('by way of %s is unavailable', (_name, open) => {
    const opened = (url: string): Driver => {
      const driver = open(url)
      onTestFinished(() => driver.close())
      return driver
    }

    it('when nothing listens on its port', async () => {
      await expect(opened('postgresql://x:y@127.0.0.1:1/z').query('SELECT 1')).rejects.toEqual(
        outOfReach('postgres'),
      )
    })

    it('when it has no connection to spare', async () => {
      const role = `full_${new URL(testDatabase.url).pathname.slice(6)}`
      await sql.query(`CREATE ROLE ${role} LOGIN PASSWORD 'full' CONNECTION LIMIT 0`)
      onTestFinished(() => sql.query(`DROP ROLE ${role}`).then(() => undefined))
      const url = new URL(testDatabase.url)
      url.username = role
      url.password = 'full'

      await expect(opened(url.href).query('SELECT 1')).rejects.toEqual(outOfReach('postgres'))
    })

    it('when it ends the connection in the middle of a query, and not afterwards', async () => {
      const driver = opened(testDatabase.url)
      const asked = driver.query('SELECT pg_sleep(20)::text')
      const answered = expect(asked).rejects.toEqual(outOfReach('postgres'))
      await terminate(`query LIKE 'SELECT pg_sleep(20)%'`)
      await answered

      await expect(driver.query('SELECT 1')).resolves.toBeDefined()
    })

    it.each([
      ['a lock is not to be had in time', { lock_timeout: '50' }, '55P03'],
      ['a statement takes too long', { statement_timeout: '50' }, '57014'],
    ])('when %s', async (_what, settings, state) => {
      const holder = await sql.connect()
      try {
        await holder.query('BEGIN')
        await holder.query('LOCK TABLE token')
        const error: unknown = await opened(urlWith(settings))
          .query('SELECT * FROM token')
          .catch((reason) => reason)

        expect(error).toEqual(outOfReach('postgres'))
        expect(JSON.stringify((error as Error).cause)).toContain(state)
      } finally {
        await holder.query('ROLLBACK')
        holder.release()
      }
    })

    it('when an answer does not arrive in time', async () => {
      const asked = opened(urlWith({ query_timeout: '50' })).query('SELECT pg_sleep(1)::text')

      await expect(asked).rejects.toEqual(outOfReach('postgres'))
    })
  })

  it.each(drivers)('by way of %s is available when it refuses', async (_name, open) => {
    const driver = open(testDatabase.url)
    onTestFinished(() => driver.close())
    const row = `INSERT INTO token VALUES ('a', 'wren', 'user', 'connection terminated', '', NULL, now())`
    await driver.query(row)

    for (const [what, statement] of [
      ['a value that must be unique', row],
      ['a parent that is not there', `INSERT INTO subtoken VALUES ('a', 'command timed out')`],
      ['bad syntax', 'SELEC 1'],
      ['an unknown table', 'SELECT * FROM max_retries'],
      ['a value of the wrong form', `SELECT '2001::zz'::inet::text`],
      ['words that quote a fault', `SELECT 'connection terminated'::int`],
    ] as const) {
      const error: unknown = await driver.query(statement).catch((reason) => reason)
      expect(error, what).toBeInstanceOf(Error)
      expect(error, what).not.toBeInstanceOf(PorthorError)
    }
  })

  describe('in a transaction is out of reach, and nothing of it is kept,', () => {
    const token = {
      key: aToken('a').key,
      username: 'wren',
      type: 'session',
      tokenName: null,
      service: null,
      scopes: [],
      createdAt: NOW,
      expiresAt: at(300),
      parentKey: null,
    } as const
    const origin = { actor: 'wren', ipAddress: null }

    function openDatabase(settings?: Record<string, string>): TokenDatabase {
      const prisma = openPrisma(parsePostgresUrl(urlWith(settings)), log)
      onTestFinished(() => prisma.$disconnect())
      return new TokenDatabase(prisma)
    }

    const expectNothingKept = async () => expect((await sql.query('SELECT FROM token')).rowCount).toBe(0)

    it('when its connection ends between two statements', async () => {
      const database = openDatabase()
      const failed = database.transaction(async (tx) => {
        await tx.insert(token, origin)
        await terminate(`state = 'idle in transaction'`)
        await tx.insert({ ...token, key: aToken('b').key }, origin)
      })

      await expect(failed).rejects.toEqual(outOfReach('postgres'))
      await expectNothingKept()
      await database.transaction((tx) => tx.insert(token, origin))
    })

    it('when its connection ends before the commit', async () => {
      const database = openDatabase()
      const failed = database.transaction(async (tx) => {
        await tx.insert(token, origin)
        await terminate(`state = 'idle in transaction'`)
      })

      await expect(failed).rejects.toEqual(outOfReach('postgres'))
      await expectNothingKept()
      await database.transaction(async () => undefined)
    })

    it('when it was quiet for too long while it held locks', async () => {
      const database = openDatabase({ idle_in_transaction_session_timeout: '50' })
      const failed = database.transaction(async (tx) => {
        await tx.insert(token, origin)
        await vi.waitFor(async () => {
          const { rows } = await sql.query(
            `SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'`,
          )
          expect(rows).toEqual([])
        }, 5_000)
        await tx.insert({ ...token, key: aToken('b').key }, origin)
      })

      await expect(failed).rejects.toEqual(outOfReach('postgres'))
      await expectNothingKept()
    })

    it('but one of two transactions that wait for each other is retried, so that both succeed', async () => {
      const database = openDatabase({ options: '-c deadlock_timeout=10ms' })
      await database.transaction((tx) => tx.insert(token, origin))
      const shapes = ['a', 'b'].map((service) => ({
        parentKey: token.key,
        username: token.username,
        type: 'internal' as const,
        service,
        scopes: [],
      }))
      let arrivals = 0
      const lockInTurn = (first: number) =>
        database.transaction(async (tx) => {
          for (const index of [first, 1 - first]) {
            const shape = shapes[index]
            if (shape) await tx.lockForDelegation(shape, LIMITS)
            arrivals += 1
            await vi.waitFor(() => expect(arrivals).toBeGreaterThanOrEqual(2), { timeout: 5_000 })
          }
        })
      const answers = await Promise.allSettled([lockInTurn(0), lockInTurn(1)])

      expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
      // One of them took its first lock twice.
      expect(arrivals).toBeGreaterThan(4)
    })
  })
})

describe('asking a store', () => {
  it('returns the response', async () => {
    expect(await callStore('redis', async () => 17)).toBe(17)
  })

  it.each([
    [
      'an expected failure, whatever caused it',
      new PorthorError('NOT_FOUND', '', { cause: { code: 'ECONNREFUSED' } }),
    ],
    ['a bug', new TypeError('x is not a function')],
    ['something that is no error', 'connection terminated'],
    ['nothing', undefined],
  ])('passes %s on as it is', async (_what, reason) => {
    await expect(callStore('redis', () => Promise.reject(reason))).rejects.toBe(reason)
  })

  it('does not wrap a fault twice', async () => {
    const fault = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
    const asked = callStore('postgres', () => callStore('redis', () => Promise.reject(fault)))

    await expect(asked).rejects.toMatchObject({ store: 'redis', cause: fault })
    await expect(asked).rejects.toBeInstanceOf(UnavailableError)
  })
})

describe('codes that are hard to provoke', () => {
  const error = (code: string) => Object.assign(new Error('x'), { code })

  it.each([
    'ECONNRESET ENOTFOUND EAI_AGAIN ETIMEDOUT EPIPE EHOSTUNREACH ENETUNREACH EMFILE ENFILE ENOBUFS ENOMEM EADDRNOTAVAIL',
    '08000 08003 08006 53000 53100 53200 53300 57P01 57P02 57P03 40001 40P01 25006 42501 25P04 28P01 3D000',
    'P1001 P1002 P1008 P1017 P2024 P2028 P2034 P2037',
  ])('say "not now": %s', (codes) => {
    for (const code of codes.split(' ')) expect(isUnavailable(error(code)), code).toBe(true)
  })

  it.each([
    '23505 23503 23502 42601 42P01 22P02 22021 0A000 XX000',
    'P1000 P1003 P2002 P2003 P2010 P2025 ENOENT EACCES ERR_INVALID_ARG_TYPE',
  ])('say "wrong": %s', (codes) => {
    for (const code of codes.split(' ')) expect(isUnavailable(error(code)), code).toBe(false)
  })

  it.each([
    ['All sentinels are unreachable. Retrying from scratch after 50ms.', true],
    ['Failed to refresh slots cache.', true],
    ['None of startup nodes is available', true],
    ['Too many Cluster redirections. Last error: ReplyError: CLUSTERDOWN The cluster is down', true],
    ['CLUSTERDOWN Hash slot not served', true],
    ['ERR Error running script (call to f_1): @user_script:4: -READONLY You can not write here.', true],
    ['ERR Error running script (call to f_1): @user_script:4: Wrong number of args', false],
    ["ERR ACL failure in script: User porthor has no permissions to run the 'set' command", true],
    ['No subscriber for the cluster', true],
    ['Cluster is ended.', true],
    ['Command aborted due to connection close', true],
    ["Socket timeout. Expecting data, but didn't receive any in 2000ms.", true],
    ['ERR max number of clients reached', true],
    ['ERR max number of clients must be a number', false],
    ['CROSSSLOT Keys in request hash to the same slot', false],
    ['ERR unknown command', false],
  ])(
    'the message of an error of Redis or its client decides whether it means unavailable: %s',
    (message, expected) => {
      expect(isUnavailable(new Error(message))).toBe(expected)
    },
  )

  it('are found in what caused an error, however it is hung there, and in a circle too', () => {
    const circle = new Error('x')
    circle.cause = circle

    expect(isUnavailable(new Error('x', { cause: error('ECONNREFUSED') }))).toBe(true)
    expect(isUnavailable({ meta: { driverAdapterError: { cause: { originalCode: '57P01' } } } })).toBe(true)
    expect(isUnavailable({ meta: { driverAdapterError: { cause: { kind: 'SocketTimeout' } } } })).toBe(true)
    expect(isUnavailable(circle)).toBe(false)
  })
})
