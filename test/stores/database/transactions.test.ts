import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { parsePostgresUrl } from '../../../src/lib/postgres-url.ts'
import { openPool, openPrisma } from '../../../src/stores/database/prisma.ts'
import { runTransaction } from '../../../src/stores/database/transactions.ts'
import { recordingLog } from '../../support/checks/log.ts'
import { freshDatabase, type TestDatabase } from '../../support/stores/stores.ts'
import { openTcpProxy, type TcpProxy } from '../../support/stores/tcp-proxy.ts'

const OPTIONS = { timeoutMs: 60_000, lookupMs: 60_000 }

let database: TestDatabase
let cable: TcpProxy
let observer: pg.Client

beforeAll(async () => {
  database = await freshDatabase()
  cable = await openTcpProxy(database.url)
  observer = new pg.Client(database.url)
  await observer.connect()
  await observer.query('CREATE TABLE written (name text PRIMARY KEY)')
})
afterAll(async () => {
  await observer.end()
  await cable.close()
  await database.drop()
})

const namesWritten = async () => (await observer.query('SELECT name FROM written ORDER BY name')).rows

const write = (url: string, name: string) => {
  const prisma = openPrisma(parsePostgresUrl(url), recordingLog().log)
  onTestFinished(() => prisma.$disconnect())
  return runTransaction(
    prisma,
    async (tx) => {
      const [row] = await tx.$queryRaw<{ id: string }[]>`
        INSERT INTO written VALUES (${name}) RETURNING pg_current_xact_id()::text AS id`
      return { result: name, transactionId: row?.id }
    },
    OPTIONS,
  )
}

describe('a transaction whose connection is lost at its COMMIT', () => {
  it('succeeds if the server has executed the COMMIT and only its response was lost', async () => {
    const lost = cable.stopAt('COMMIT', 'after')
    expect(await write(cable.through(database.url), 'committed')).toBe('committed')
    await lost
    expect(await namesWritten()).toContainEqual({ name: 'committed' })
  })

  it('fails, and nothing is written, if the server has not received the COMMIT', async () => {
    const lost = cable.stopAt('COMMIT', 'before')
    await expect(write(cable.through(database.url), 'aborted')).rejects.toThrow()
    await lost
    expect(await namesWritten()).not.toContainEqual({ name: 'aborted' })
  })

  it('is ended on the server while the COMMIT is in transit, so that this has no effect later', async () => {
    const held = cable.stopAt('COMMIT', 'hold')
    await expect(write(`${cable.through(database.url)}?query_timeout=1000`, 'held')).rejects.toThrow()
    await held
    expect(await namesWritten()).not.toContainEqual({ name: 'held' })
  })
})

describe('a session', () => {
  it("sets all settings that Porthor's SQL needs, whatever the defaults of the database", async () => {
    const name = new URL(database.url).pathname.slice(1)
    for (const setting of [
      "DateStyle = 'German'",
      "TimeZone = 'Asia/Tokyo'",
      "IntervalStyle = 'iso_8601'",
      'search_path = pg_catalog',
      'bytea_output = escape',
      'standard_conforming_strings = off',
    ]) {
      await observer.query(`ALTER DATABASE ${pg.escapeIdentifier(name)} SET ${setting}`)
    }
    const pool = openPool(parsePostgresUrl(database.url), recordingLog().log, 1)
    onTestFinished(() => pool.end())
    const shown = await pool.query(
      `SELECT current_setting('DateStyle') AS date, current_setting('TimeZone') AS zone,
              current_setting('search_path') AS path, current_setting('standard_conforming_strings') AS strings`,
    )
    expect(shown.rows).toEqual([{ date: 'ISO, YMD', zone: 'UTC', path: '"public"', strings: 'on' }])
  })

  it.each([
    ['off', 'on'],
    ['on', 'on'],
    ['remote_apply', 'remote_apply'],
    ['local', 'local'],
  ])(
    'with synchronous_commit = %s commits with %s: what was acknowledged survives a crash of PostgreSQL',
    async (given, used) => {
      const name = pg.escapeIdentifier(new URL(database.url).pathname.slice(1))
      await observer.query(`ALTER DATABASE ${name} SET synchronous_commit = ${given}`)
      onTestFinished(
        async () => void (await observer.query(`ALTER DATABASE ${name} RESET synchronous_commit`)),
      )
      const pool = openPool(parsePostgresUrl(database.url), recordingLog().log, 1)
      onTestFinished(() => pool.end())
      expect((await pool.query('SHOW synchronous_commit')).rows).toEqual([{ synchronous_commit: used }])
    },
  )

  it('is closed when a query has no response in time, and never used again', async () => {
    const pool = openPool(
      parsePostgresUrl(`${cable.through(database.url)}?query_timeout=500`),
      recordingLog().log,
      1,
    )
    onTestFinished(() => pool.end())
    const pidOf = async () => (await pool.query('SELECT pg_backend_pid() AS pid')).rows[0].pid
    const first = await pidOf()
    await expect(pool.query('SELECT pg_sleep(20)')).rejects.toThrow('Connection terminated')
    expect(await pidOf()).not.toBe(first)
  })
})
