import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { parsePostgresUrl } from '../../../src/lib/postgres-url.ts'
import { assertMigrated, migrate } from '../../../src/stores/migrations/migrations.ts'
import { createGafaelfawrTables, loadGafaelfawrRows } from '../../support/stores/gafaelfawr.ts'
import { emptyDatabase, type TestDatabase } from '../../support/stores/stores.ts'

const log = { info: () => undefined }
const SCRIPT = fileURLToPath(new URL('../../support/processes/migrate-process.ts', import.meta.url))

let database: TestDatabase
let client: pg.Client

beforeEach(async () => {
  database = await emptyDatabase()
  client = await connect()
  await createGafaelfawrTables(client)
  await loadGafaelfawrRows(client)
})
afterEach(async () => {
  await client.end()
  await database.drop()
})

async function connect(): Promise<pg.Client> {
  const connection = new pg.Client(database.url)
  connection.on('error', () => undefined)
  await connection.connect()
  return connection
}

/** A transaction that has changed a row of `token` and stays open until `end` is called. */
async function holdTransaction(): Promise<{ end(): Promise<void> }> {
  const holder = await connect()
  onTestFinished(() => holder.end())
  await holder.query('BEGIN')
  await holder.query('UPDATE token SET last_used = now() WHERE token = (SELECT min(token) FROM token)')
  return { end: async () => void (await holder.query('COMMIT')) }
}

/** The process of PostgreSQL that waits while it builds an index, once it does. */
async function indexBuilder(): Promise<number> {
  return expect
    .poll(readBuilder, { timeout: 20_000 })
    .toEqual(expect.any(Number))
    .then(async () => (await readBuilder()) ?? 0)
}

async function readBuilder(): Promise<number | undefined> {
  const { rows } = await client.query<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
       AND query LIKE '%CREATE INDEX%' AND pid <> pg_backend_pid()`,
  )
  return rows[0]?.pid
}

const readIndexes = async (condition: string): Promise<readonly string[]> => {
  const { rows } = await client.query<{ name: string }>(
    `SELECT relname AS name FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
     WHERE relname LIKE 'porthor\\_%' AND ${condition} ORDER BY relname`,
  )
  return rows.map(({ name }) => name)
}

describe('indexes on tables in use', () => {
  it('are built while others write, also while one old transaction keeps the build waiting', async () => {
    const old = await holdTransaction()
    const migrating = migrate(parsePostgresUrl(database.url), { log })
    await indexBuilder()
    const writer = await connect()
    onTestFinished(() => writer.end())
    await writer.query(`SET lock_timeout = '5s'`)
    await writer.query(`UPDATE token SET last_used = now() WHERE token = (SELECT max(token) FROM token)`)
    await writer.query(
      `INSERT INTO token (token, username, token_type, scopes, created) VALUES ('new', 'someone', 'session', '', now())`,
    )
    expect(await readBuilder()).toEqual(expect.any(Number))
    await old.end()
    await migrating
    expect(await readIndexes('NOT indisvalid')).toEqual([])
    await assertMigrated(parsePostgresUrl(database.url))
  })

  it('wait for old transactions for a bounded time, and the message names these and what to do', async () => {
    const old = await holdTransaction()
    const failing = migrate(parsePostgresUrl(database.url), { log, lockTimeoutMs: 200 })
    await expect(failing).rejects.toThrow(
      /porthor_\w+ waited 0\.2 s for a transaction that began before.*process \d+.*run `porthor migrate` again/,
    )
    await expect(assertMigrated(parsePostgresUrl(database.url))).rejects.toThrow(
      /was interrupted: run `porthor migrate` again/,
    )
    await old.end()
    await migrate(parsePostgresUrl(database.url), { log })
    expect(await readIndexes('NOT indisvalid')).toEqual([])
    await assertMigrated(parsePostgresUrl(database.url))
  })

  it('are built after a run that was killed: invalid indexes are dropped and built again', async () => {
    const old = await holdTransaction()
    const child = await startMigrating()
    const builder = await indexBuilder()
    child.kill('SIGKILL')
    await once(child, 'exit')
    await client.query('SELECT pg_terminate_backend($1)', [builder])
    await expect.poll(readBuilder).toBe(undefined)
    const invalid = await readIndexes('NOT indisvalid')
    expect(invalid.length).toBe(1)
    await old.end()
    await migrate(parsePostgresUrl(database.url), { log })
    expect(await readIndexes('NOT indisvalid')).toEqual([])
    expect(await readIndexes('indisvalid')).toEqual(expect.arrayContaining([...invalid]))
    await assertMigrated(parsePostgresUrl(database.url))
    expect(await migrate(parsePostgresUrl(database.url), { log })).toEqual({ applied: [], baselined: [] })
  })

  it('are built by exactly one of two processes that migrate at once and both succeed', async () => {
    const old = await holdTransaction()
    const runs = await Promise.all([startMigrating(), startMigrating()])
    const results = runs.map(readResult)
    await indexBuilder()
    await old.end()
    const applied = (await Promise.all(results)).flatMap((result) => result.applied)
    expect(new Set(applied).size).toBe(applied.length)
    expect(await readIndexes('NOT indisvalid')).toEqual([])
    await assertMigrated(parsePostgresUrl(database.url))
  })

  it('that are invalid although their migration is recorded are built again', async () => {
    await migrate(parsePostgresUrl(database.url), { log })
    const name = 'porthor_token_by_created'
    await client.query('UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::regclass', [name])
    await migrate(parsePostgresUrl(database.url), { log })
    expect(await readIndexes('NOT indisvalid')).toEqual([])
    expect(await readIndexes('indisvalid')).toContain(name)
  })
})

async function startMigrating(): Promise<ChildProcess> {
  const env = { ...process.env, DATABASE_URL: database.url }
  const child = spawn(process.execPath, ['--import', 'tsx', SCRIPT], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child, 'spawn')
  return child
}

async function readResult(child: ChildProcess): Promise<{ applied: string[] }> {
  let text = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  const [code] = await once(child, 'close')
  expect(code).toBe(0)
  return JSON.parse(text) as { applied: string[] }
}
