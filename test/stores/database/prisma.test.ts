import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { parsePostgresUrl } from '../../../src/lib/postgres-url.ts'
import { openPool, openPrisma } from '../../../src/stores/database/prisma.ts'
import { withinMs } from '../../../src/stores/deadline.ts'
import { recordingLog } from '../../support/checks/log.ts'
import { freshDatabase, type TestDatabase } from '../../support/stores/stores.ts'

type Row = Record<string, unknown>

/** Long enough on a busy machine; nothing is decided by it. */
const PATIENT = { timeout: 10_000 }

const connections = [
  [
    'a pool',
    (url: string, log: ReturnType<typeof recordingLog>['log']) => {
      const pool = openPool(parsePostgresUrl(url), log, 2)
      return {
        query: async (sql: string): Promise<Row[]> => (await pool.query(sql)).rows,
        close: () => pool.end(),
      }
    },
  ],
  [
    'the Prisma client',
    (url: string, log: ReturnType<typeof recordingLog>['log']) => {
      const prisma = openPrisma(parsePostgresUrl(url), log)
      return { query: (sql: string) => prisma.$queryRawUnsafe<Row[]>(sql), close: () => prisma.$disconnect() }
    },
  ],
] as const

describe.each(connections)('%s', (_name, open) => {
  let database: TestDatabase
  let recorded: ReturnType<typeof recordingLog>
  let connection: ReturnType<typeof open>
  let observer: pg.Client

  beforeAll(async () => {
    database = await freshDatabase()
    observer = new pg.Client(database.url)
    await observer.connect()
  })
  afterAll(async () => {
    await observer.end()
    await database.drop()
  })
  beforeEach(() => {
    recorded = recordingLog()
    connection = open(database.url, recorded.log)
  })
  afterEach(() => connection.close())

  it('has a time limit for every request and lock in PostgreSQL', async () => {
    const settings = [
      'lock_timeout',
      'statement_timeout',
      'idle_in_transaction_session_timeout',
      'application_name',
    ]
    const shown = await Promise.all(
      settings.map((name) => connection.query(`SELECT current_setting('${name}') AS value`)),
    )

    expect(shown.flat().map(({ value }) => value)).toEqual(['4s', '5s', '10s', 'porthor'])
  })

  it('sees after each wait what was committed meanwhile, whatever the default of the role', async () => {
    const { pathname } = new URL(database.url)
    const isolate = (level: string) =>
      observer.query(
        `ALTER DATABASE ${pg.escapeIdentifier(pathname.slice(1))} SET default_transaction_isolation = '${level}'`,
      )
    await isolate('repeatable read')
    onTestFinished(async () => void (await isolate('read committed')))
    expect(await connection.query('SHOW transaction_isolation')).toEqual([
      { transaction_isolation: 'read committed' },
    ])
  })

  it('survives the loss of an idle connection, logs it, and opens another', async () => {
    await connection.query('SELECT 1')
    await observer.query(
      `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid()`,
    )
    const lost = { level: 40, msg: 'lost a connection to PostgreSQL', reason: expect.any(String) }
    await vi.waitFor(() => expect(recorded.lines).toContainEqual(expect.objectContaining(lost)), PATIENT)

    expect(await connection.query('SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  it('connects at the first query and leaves no connection when closed', async () => {
    const count = async () => {
      const { rows } = await observer.query(
        `SELECT count(*)::int AS open FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'porthor'`,
      )
      return rows[0]?.open
    }
    await vi.waitFor(async () => expect(await count()).toBe(0), PATIENT)
    await connection.query('SELECT 1')
    expect(await count()).toBe(1)

    await connection.close()
    await vi.waitFor(async () => expect(await count()).toBe(0), PATIENT)
    connection = { ...connection, close: async () => undefined }
  })
})

describe('a pool with one connection', () => {
  it('gives each query that waits for it its own deadline, and not that of the request that opened it', async () => {
    const database = await freshDatabase()
    onTestFinished(database.drop)
    const pool = openPool(parsePostgresUrl(database.url), recordingLog().log, 1)
    onTestFinished(() => pool.end())
    await withinMs(1_000, () => pool.query('SELECT 1'))
    // Longer than the deadline of the one that has opened the connection; the second waits for the first.
    const queries = [1.2, 0.2].map((seconds) =>
      pool.query(`SELECT pg_sleep(${seconds}), ${seconds} AS slept`),
    )
    expect((await Promise.all(queries)).map(({ rows }) => Number(rows[0].slept))).toEqual([1.2, 0.2])
  })
})
