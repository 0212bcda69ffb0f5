import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { parsePostgresUrl } from '../../../src/lib/postgres-url.ts'
import { ENGINE_LOCK } from '../../../src/stores/database/advisory-locks.ts'
import { readMigrations } from '../../../src/stores/migrations/migration-history.ts'
import { assertMigrated, MigrationError, migrate } from '../../../src/stores/migrations/migrations.ts'
import { openSchemaEngine } from '../../../src/stores/migrations/schema-engine.ts'
import { readCatalog } from '../../support/stores/catalog.ts'
import {
  createGafaelfawrTables,
  GAFAELFAWR_TABLES,
  loadGafaelfawrRows,
} from '../../support/stores/gafaelfawr.ts'
import { emptyDatabase, freshDatabase, type TestDatabase } from '../../support/stores/stores.ts'

const run = promisify(execFile)
const log = { info: () => undefined }
const OURS = fileURLToPath(new URL('../../../prisma/migrations', import.meta.url))
const SHARED = '20260101000000_gafaelfawr_tables'
const SCRIPT = fileURLToPath(new URL('../../support/processes/migrate-process.ts', import.meta.url))
const ALL = (await readMigrations(OURS)).map(({ name }) => name)

let database: TestDatabase
let client: pg.Client

beforeEach(async () => {
  database = await emptyDatabase()
  client = await connect(database.url)
})
afterEach(async () => {
  await client.end()
  await database.drop()
})

async function connect(url: string): Promise<pg.Client> {
  const connection = new pg.Client(url)
  connection.on('error', () => undefined)
  await connection.connect()
  return connection
}

/** A copy of our migrations that a test may change, and further ones by name. */
async function copyMigrations(further: Record<string, string> = {}): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'porthor-migrations-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  await cp(OURS, dir, { recursive: true })
  for (const [name, sql] of Object.entries(further)) await addMigration(dir, name, sql)
  return dir
}

async function addMigration(dir: string, name: string, sql: string): Promise<void> {
  await mkdir(join(dir, name), { recursive: true })
  await writeFile(join(dir, name, 'migration.sql'), sql)
}

const refusal = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'not refused',
    (error: unknown) => {
      expect(error).toBeInstanceOf(MigrationError)
      return error instanceof Error ? error.message : ''
    },
  )

const readRecord = async () =>
  (await client.query('SELECT * FROM _prisma_migrations ORDER BY started_at, migration_name')).rows

describe('an empty database', () => {
  it("gets the tables of Gafaelfawr's catalogue to the letter, and beyond it only indexes and a sequence named as ours", async () => {
    const theirs = await emptyDatabase()
    const them = await connect(theirs.url)
    onTestFinished(async () => {
      await them.end()
      await theirs.drop()
    })
    await createGafaelfawrTables(them)
    await migrate(parsePostgresUrl(database.url), { log })

    const expected = await readCatalog(them)
    expect(expected.columns?.length).toBe(27)
    const found = await readCatalog(client)
    const indexes = found.indexes?.filter((line) => !line.startsWith('CREATE INDEX porthor_'))
    const sequences = found.sequences?.filter((line) => !line.startsWith('porthor_'))
    expect({ ...found, indexes, sequences }).toEqual(expected)
  })

  it('is migrated once, and a second call changes nothing', async () => {
    expect(await migrate(parsePostgresUrl(database.url), { log })).toEqual({ applied: ALL, baselined: [] })
    const record = await readRecord()
    expect(await migrate(parsePostgresUrl(database.url), { log })).toEqual({ applied: [], baselined: [] })
    expect(await readRecord()).toEqual(record)
  })

  it('does not delay the end of a process that has migrated', async () => {
    const env = { ...process.env, DATABASE_URL: database.url }
    const child = spawn(process.execPath, ['--import', 'tsx', SCRIPT], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    const printedAt = performance.now()
    await once(child, 'exit')
    expect(performance.now() - printedAt).toBeLessThan(5_000)
  })

  it('leaves no connection open', async () => {
    await migrate(parsePostgresUrl(database.url), { log })
    await expect
      .poll(async () => {
        const { rows } = await client.query(
          'SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database()',
        )
        return rows[0]?.count
      })
      .toBe(1)
  })
})

/** When a migration has last looked whether another one is at work; `undefined` while none has. */
async function readLastLook(): Promise<string | undefined> {
  const { rows } = await client.query<{ at: string }>(
    `SELECT query_start::text AS at FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'SELECT FROM pg_locks%'`,
  )
  return rows[0]?.at
}

describe('several at once', () => {
  it('is migrated by exactly one of four processes, and all succeed', async () => {
    const env = { ...process.env, DATABASE_URL: database.url }
    const runs = await Promise.all(
      Array.from({ length: 4 }, () => run(process.execPath, ['--import', 'tsx', SCRIPT], { env })),
    )
    const results = runs.map(({ stdout }) => JSON.parse(stdout) as { applied: string[] })
    expect(results.flatMap(({ applied }) => applied)).toEqual(ALL)
    expect((await readRecord()).map((row) => row.migration_name)).toEqual(ALL)
  })

  it('is migrated by exactly one of eight calls in a process, and all succeed', async () => {
    const results = await Promise.all(
      Array.from({ length: 8 }, () => migrate(parsePostgresUrl(database.url), { log })),
    )
    expect(results.flatMap(({ applied }) => applied)).toEqual(ALL)
  })

  it('waits for a `prisma migrate` that is at work, and then looks again', async () => {
    await client.query('SELECT pg_advisory_lock($1)', [ENGINE_LOCK])
    // What the other one is doing just now looks like a failed migration.
    await createRecordTable()
    await insertRecord({ migration_name: ALL[0] ?? '', checksum: 'x', finished_at: null })
    const settled = vi.fn()
    const waiting = migrate(parsePostgresUrl(database.url), { log }).finally(settled)
    const first = await vi.waitUntil(readLastLook)
    await vi.waitUntil(async () => ((await readLastLook()) ?? first) !== first)
    expect(settled).not.toHaveBeenCalled()
    await client.query('DROP TABLE _prisma_migrations')
    await client.query('SELECT pg_advisory_unlock($1)', [ENGINE_LOCK])
    expect(await waiting).toEqual({ applied: ALL, baselined: [] })
  })

  it('gives up after the allowed time, with an error that says so', async () => {
    await client.query('SELECT pg_advisory_lock($1)', [ENGINE_LOCK])
    expect(await refusal(migrate(parsePostgresUrl(database.url), { log, timeoutMs: 300 }))).toMatch(
      /Another process has been migrating/,
    )
  })

  it('lets go of an engine that gave up on the lock', async () => {
    await client.query('SELECT pg_advisory_lock($1)', [ENGINE_LOCK])
    const engine = await openSchemaEngine(parsePostgresUrl(database.url))
    await expect(engine.apply(await readMigrations(OURS))).rejects.toMatchObject({ code: 'P1002' })
    await engine.close()
  })
})

describe('refuses, and says what would be right', () => {
  it('a database that is ahead', async () => {
    const dir = await copyMigrations({ '20990101000000_from_the_future': 'CREATE TABLE future (x int);' })
    await migrate(parsePostgresUrl(database.url), { log, migrationsDir: dir })
    const message = /ahead of this Porthor: it has the migration 20990101000000_from_the_future.*newer/
    expect(await refusal(migrate(parsePostgresUrl(database.url), { log }))).toMatch(message)
    expect(await refusal(assertMigrated(parsePostgresUrl(database.url)))).toMatch(message)
  })

  it('an applied migration that was edited', async () => {
    const dir = await copyMigrations({ [SHARED]: 'SELECT 1;' })
    await migrate(parsePostgresUrl(database.url), { log })
    expect(await refusal(migrate(parsePostgresUrl(database.url), { log, migrationsDir: dir }))).toMatch(
      new RegExp(`edited.*${SHARED}.*Restore`),
    )
  })

  it('a migration that failed, which leaves no change and can be released', async () => {
    const name = '20990101000000_faulty'
    const dir = await copyMigrations({ [name]: 'CREATE TABLE half (x int); SELECT 1 / 0;' })
    expect(await refusal(migrate(parsePostgresUrl(database.url), { log, migrationsDir: dir }))).toMatch(
      /division by zero/,
    )
    const { rows } = await client.query(`SELECT to_regclass('half') AS half`)
    expect(rows).toEqual([{ half: null }])

    const message = await refusal(migrate(parsePostgresUrl(database.url), { log, migrationsDir: dir }))
    expect(message).toMatch(
      new RegExp(`^Migration ${name} has failed before \\(.*division by zero\\) and changed nothing`),
    )
    const release = /UPDATE .*$/.exec(message)?.[0] ?? ''
    await addMigration(dir, name, 'CREATE TABLE half (x int);')
    await client.query(release)
    expect(await migrate(parsePostgresUrl(database.url), { log, migrationsDir: dir })).toEqual({
      applied: [name],
      baselined: [],
    })
  })

  it('a migration that was cut off', async () => {
    await migrate(parsePostgresUrl(database.url), { log })
    await client.query('UPDATE _prisma_migrations SET finished_at = NULL WHERE migration_name = $1', [SHARED])
    const message = new RegExp(`${SHARED} was interrupted.*finish it with.*release it with`)
    expect(await refusal(migrate(parsePostgresUrl(database.url), { log }))).toMatch(message)
    expect(await refusal(assertMigrated(parsePostgresUrl(database.url)))).toMatch(message)
  })

  it("another program's database", async () => {
    await client.query('CREATE TABLE invoice (id int)')
    expect(await refusal(migrate(parsePostgresUrl(database.url), { log }))).toMatch(
      /tables of another program: give Porthor an empty/,
    )
  })

  it.each([
    [
      'postgresql://someone:swordfish@127.0.0.1:1/porthor',
      /^Cannot connect to PostgreSQL at 127\.0\.0\.1:1\/porthor as someone: .*ECONNREFUSED/,
    ],
    ['postgresql://someone:swordfish@localhost:1/porthor', /ECONNREFUSED/],
  ])('a server that is not there, without the password in the message (%#)', async (url, message) => {
    const said = await refusal(migrate(parsePostgresUrl(url), { log }))
    expect(said).toMatch(message)
    expect(said).not.toMatch(/sword ?fish|\n/)
  })

  it('a wrong password or database name', async () => {
    const url = new URL(database.url)
    url.pathname = '/nowhere'
    expect(await refusal(migrate(parsePostgresUrl(url.href), { log }))).toMatch(
      /database "nowhere" does not exist/,
    )
    url.password = 'swordfish'
    expect(await refusal(migrate(parsePostgresUrl(url.href), { log }))).toMatch(
      /password authentication failed/,
    )
  })
})

describe('a database that Gafaelfawr created', () => {
  it('is taken as it is, with its rows kept and only what it lacks added', async () => {
    await createGafaelfawrTables(client)
    await loadGafaelfawrRows(client)
    const before = await readRows()
    expect(before.map((rows) => rows.length)).toEqual([11, 8, 11])

    const rest = ALL.filter((name) => name !== SHARED)
    expect(await migrate(parsePostgresUrl(database.url), { log })).toEqual({
      applied: rest,
      baselined: [SHARED],
    })
    expect(await readRows()).toEqual(before)
    await assertMigrated(parsePostgresUrl(database.url))
    expect(await migrate(parsePostgresUrl(database.url), { log })).toEqual({ applied: [], baselined: [] })
  })

  it.each([
    ['a column', 'ALTER TABLE token DROP COLUMN service', /column token\.service text is missing/],
    [
      'a type',
      'ALTER TABLE token ALTER username TYPE char(64)',
      /column token\.username text NOT NULL is missing/,
    ],
    [
      'a collation',
      'ALTER TABLE token ALTER token TYPE text',
      /token\.token text COLLATE C NOT NULL is missing/,
    ],
    [
      'a constraint',
      'ALTER TABLE token DROP CONSTRAINT token_username_token_name_key',
      /UNIQUE \(username, token_name\)/,
    ],
    ['a table', 'DROP TABLE token_change_history', /column token_change_history\.\w+ .* is missing/],
    [
      'room for our inserts',
      'ALTER TABLE token ADD extra int NOT NULL',
      /column token\.extra integer NOT NULL is not known/,
    ],
  ])('is refused unchanged when it lacks %s', async (_what, change, message) => {
    await createGafaelfawrTables(client)
    await client.query(change)
    expect(await refusal(migrate(parsePostgresUrl(database.url), { log }))).toMatch(message)
    const { rows } = await client.query(`SELECT to_regclass('_prisma_migrations') AS record`)
    expect(rows).toEqual([{ record: null }])
  })

  it('may be of a release whose columns have limits on lengths, and keys of subtoken no collation of their own', async () => {
    await createGafaelfawrTables(client)
    await client.query(`
      ALTER TABLE token ALTER username TYPE varchar(64), ALTER token_name TYPE varchar(64),
        ALTER scopes TYPE varchar(512), ALTER service TYPE varchar(64),
        ALTER token TYPE varchar(64) COLLATE "C";
      ALTER TABLE subtoken ALTER child TYPE varchar(64) COLLATE "default",
        ALTER parent TYPE varchar(64) COLLATE "default";
      ALTER TABLE token_change_history ALTER username TYPE varchar(64), ALTER old_scopes TYPE varchar(512)`)
    expect((await migrate(parsePostgresUrl(database.url), { log })).baselined).toEqual([SHARED])
    await assertMigrated(parsePostgresUrl(database.url))
  })

  it('may have more than Porthor knows', async () => {
    await createGafaelfawrTables(client)
    await client.query(
      'ALTER TABLE token ADD note text; CREATE TABLE oidc_client (client_id text PRIMARY KEY)',
    )
    expect((await migrate(parsePostgresUrl(database.url), { log })).baselined).toEqual([SHARED])
  })

  async function readRows(): Promise<object[][]> {
    const all: object[][] = []
    for (const table of GAFAELFAWR_TABLES) all.push((await client.query(`TABLE ${table} ORDER BY 1`)).rows)
    return all
  }
})

describe('the record of what was applied', () => {
  it("is Prisma's own table, so that `prisma migrate deploy` agrees", async () => {
    await migrate(parsePostgresUrl(database.url), { log })
    const engine = await openSchemaEngine(parsePostgresUrl(database.url))
    // An engine with the same files finds nothing to do, so its checksums are those in the table.
    expect(await engine.apply(await readMigrations(OURS))).toEqual([])
    await engine.close()
    expect(await readRecord()).toEqual(
      ALL.map((migration_name) => ({
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        checksum: expect.stringMatching(/^[0-9a-f]{64}$/),
        migration_name,
        logs: null,
        rolled_back_at: null,
        started_at: expect.any(Date),
        finished_at: expect.any(Date),
        applied_steps_count: 1,
      })),
    )
  })

  it('lets `serve` distinguish a database that is up to date from one that is behind', async () => {
    expect(await refusal(assertMigrated(parsePostgresUrl(database.url)))).toBe(
      `The database lacks ${ALL.join(', ')}: run \`porthor migrate\`.`,
    )
    const migrated = await freshDatabase()
    await assertMigrated(parsePostgresUrl(migrated.url))
    await migrated.drop()
  })

  it('knows a script as PostgreSQL does: semicolons in comments and strings do not end a statement', async () => {
    const name = '20990101000000_semicolons'
    const dir = await copyMigrations({
      [name]: `-- first; second\nCREATE TABLE words (word text DEFAULT 'a;b');\nINSERT INTO words VALUES (DEFAULT);`,
    })
    await migrate(parsePostgresUrl(database.url), { log, migrationsDir: dir })
    expect((await client.query('TABLE words')).rows).toEqual([{ word: 'a;b' }])
  })
})

const createRecordTable = () =>
  client.query(`CREATE TABLE _prisma_migrations (id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL,
    finished_at timestamptz, migration_name varchar(255) NOT NULL, logs text, rolled_back_at timestamptz,
    started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count integer NOT NULL DEFAULT 0)`)

const insertRecord = (row: { migration_name: string; checksum: string; finished_at: null }) =>
  client.query(
    `INSERT INTO _prisma_migrations (id, migration_name, checksum, finished_at) VALUES (gen_random_uuid(), $1, $2, $3)`,
    [row.migration_name, row.checksum, row.finished_at],
  )
