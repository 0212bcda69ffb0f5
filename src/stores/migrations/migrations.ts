import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'
import { systemClock } from '../../lib/clock.ts'
import type { PostgresUrl } from '../../lib/postgres-url.ts'
import { ENGINE_LOCK, MIGRATE_LOCK } from '../database/advisory-locks.ts'
import { createClient } from '../database/postgres-client.ts'
import { areSessionsShared } from '../database/session-check.ts'
import {
  describeMissingRights,
  isReadOnly,
  OBSTACLES,
  type Obstacle,
  TAKES_NO_WRITES,
} from '../database/writable.ts'
import { hasSharedTables, requireSharedTables, SHARED_TABLES_MIGRATION } from './gafaelfawr-tables.ts'
import {
  findReleasable,
  isResumable,
  notCompleted,
  releaseIndexes,
  waitedTooLong,
} from './index-migrations.ts'
import {
  failedBefore,
  findUnapplied,
  findUnfinished,
  firstLines,
  type Migration,
  MigrationError,
  readHistory,
  readMigrations,
} from './migration-history.ts'
import { requireMigrationRights } from './migration-rights.ts'
import { openSchemaEngine, type SchemaEngine } from './schema-engine.ts'

export { MigrationError } from './migration-history.ts'

export interface MigrateOptions {
  readonly log: { info(obj: object, msg: string): void }
  /** Maximum time to wait for other processes that migrate the same database, in milliseconds. Default: 60 s. */
  readonly timeoutMs?: number
  /** Maximum time for a step to wait for a lock or for older transactions, in milliseconds. Default: 60 s. */
  readonly lockTimeoutMs?: number
  /** Directory of the migrations. Default: that of this program. */
  readonly migrationsDir?: string
}

export interface MigrateResult {
  /** Names of the migrations that ran. */
  readonly applied: string[]
  /** Names of migrations that were only recorded, because Gafaelfawr has created their tables. */
  readonly baselined: string[]
}

// The same way from src/stores and from dist/stores.
const MIGRATIONS_DIR = fileURLToPath(new URL('../../../prisma/migrations', import.meta.url))

const WAIT_FOR_OTHERS_MS = 60_000
const LOCK_TIMEOUT_MS = 60_000
const CONNECT_TIMEOUT_MS = 10_000
const LOOK_AGAIN_MS = 100

/**
 * Applies the migrations that the database lacks. Many processes may call this at the same time. Applied migrations are
 * recorded in Prisma's table.
 *
 * @throws {MigrationError} The database is unavailable, is ahead, has failed or edited migrations, or has tables of another
 *   program. It is unchanged then, except for migrations before one that failed.
 */
export async function migrate(databaseUrl: PostgresUrl, options: MigrateOptions): Promise<MigrateResult> {
  const migrations = await readMigrations(options.migrationsDir ?? MIGRATIONS_DIR)
  const deadline = systemClock.monotonicMs() + (options.timeoutMs ?? WAIT_FOR_OTHERS_MS)
  const { lockTimeoutMs = LOCK_TIMEOUT_MS } = options
  return withConnection(databaseUrl, async (client) => {
    await client.query("SELECT set_config('lock_timeout', $1, false)", [String(lockTimeoutMs)])
    await takeMigrateLock(client, deadline)
    const result: MigrateResult = { applied: [], baselined: [] }
    for (;;) {
      const unapplied = await prepareUnapplied(client, migrations, deadline)
      if (unapplied.length === 0) return result
      await withEngine(databaseUrl, lockTimeoutMs, async (engine) => {
        if (unapplied.includes(SHARED_TABLES_MIGRATION) && (await hasSharedTables(client))) {
          await baseline(client, engine, migrations)
          result.baselined.push(SHARED_TABLES_MIGRATION)
        }
        const work = applyOnce(engine, migrations, deadline)
        result.applied.push(
          ...(await work.catch(async (error: unknown) => {
            // If the database is unavailable by now, the original error is the best explanation.
            throw (await explain(client, migrations, lockTimeoutMs).catch(() => undefined)) ?? error
          })),
        )
      })
      const { applied, baselined } = result
      options.log.info({ applied, baselined }, 'migrated the database')
    }
  })
}

/**
 * Requires that the database has all migrations of this program, and that the role has its rights.
 *
 * @returns An obstacle that may pass: a read-only PostgreSQL may be promoted at any time.
 * @throws {MigrationError} Migrations or rights are missing, or the database is unavailable.
 */
export async function checkMigrated(databaseUrl: PostgresUrl): Promise<string | undefined> {
  const migrations = await readMigrations(MIGRATIONS_DIR)
  return withConnection(databaseUrl, async (client) => {
    const history = await readHistory(client)
    const unfinished = findUnfinished(history)
    if (unfinished && (await isEngineAtWork(client))) {
      throw new MigrationError('The database is being migrated: start again when the migration is finished.')
    }
    if (unfinished && isResumable(migrations, unfinished.name)) throw notCompleted(unfinished)
    if (unfinished) throw failedBefore(unfinished)
    const unapplied = findUnapplied(migrations, history)
    if (unapplied.length === 0) return checkRights(client)
    throw new MigrationError(`The database lacks ${unapplied.join(', ')}: run \`porthor migrate\`.`)
  })
}

/** Like `checkMigrated`. @throws {MigrationError} Also if PostgreSQL is read-only. */
export async function assertMigrated(databaseUrl: PostgresUrl): Promise<void> {
  const obstacle = await checkMigrated(databaseUrl)
  if (obstacle) throw new MigrationError(obstacle)
}

/** @throws {MigrationError} The role lacks rights. */
async function checkRights(client: pg.Client): Promise<string | undefined> {
  const { rows } = await client.query<Obstacle>(OBSTACLES)
  const missing = describeMissingRights(rows)
  if (missing) throw new MigrationError(missing)
  return isReadOnly(rows) ? TAKES_NO_WRITES : undefined
}

/** Waits until no other Porthor migrates this database, and takes the lock, which ends with the connection. */
async function takeMigrateLock(client: pg.Client, deadline: number): Promise<void> {
  for (;;) {
    const { rows } = await client.query('SELECT pg_try_advisory_lock($1, $2) AS taken', [...MIGRATE_LOCK])
    if (rows[0]?.taken) return
    await waitForOthers(deadline)
  }
}

/** Waits until no engine is running, and returns the names of the migrations to run. */
async function prepareUnapplied(
  client: pg.Client,
  migrations: readonly Migration[],
  deadline: number,
): Promise<readonly string[]> {
  for (;;) {
    // Checked before the history is read: without a running engine, an unfinished migration stays unfinished.
    while (await isEngineAtWork(client)) await waitForOthers(deadline)
    const history = await readHistory(client)
    const unapplied = findUnapplied(migrations, history)
    const unfinished = findUnfinished(history)
    if (unfinished && !isResumable(migrations, unfinished.name)) throw failedBefore(unfinished)
    const invalid = await findReleasable(client, migrations, history)
    if (unapplied.length > 0 || invalid.length > 0) {
      const concerned = [...unapplied, ...invalid]
      await requireMigrationRights(
        client,
        migrations.filter(({ name }) => concerned.includes(name)),
      )
    }
    if (invalid.length === 0) return unapplied
    if (!(await releaseIndexes(client, migrations))) await waitForOthers(deadline)
  }
}

/** Returns an error with the remedy for an index migration that has just failed; `undefined` for another failure. */
async function explain(
  client: pg.Client,
  migrations: readonly Migration[],
  lockTimeoutMs: number,
): Promise<MigrationError | undefined> {
  const failed = findUnfinished(await readHistory(client))
  const migration = migrations.find(({ name }) => name === failed?.name)
  return migration && failed?.logs ? waitedTooLong(client, migration, failed.logs, lockTimeoutMs) : undefined
}

/** Records the migration of the shared tables as applied, if the tables are like those that it creates. */
async function baseline(
  client: pg.Client,
  engine: SchemaEngine,
  migrations: readonly Migration[],
): Promise<void> {
  const migration = migrations.find(({ name }) => name === SHARED_TABLES_MIGRATION)
  if (!migration) throw new Error(`${SHARED_TABLES_MIGRATION} is not among the migrations`)
  await requireSharedTables(client, migration)
  await engine.markApplied(migrations, SHARED_TABLES_MIGRATION)
}

/** Applies the missing migrations. Returns an empty list if `prisma migrate` held the lock of the engine for too long. */
async function applyOnce(
  engine: SchemaEngine,
  migrations: readonly Migration[],
  deadline: number,
): Promise<readonly string[]> {
  try {
    return await engine.apply(migrations)
  } catch (error) {
    if (!(error instanceof Error)) throw error
    const code = 'code' in error ? error.code : undefined
    if (code === 'P1002' && systemClock.monotonicMs() < deadline) return []
    if (code === 'P3005') {
      throw new MigrationError(
        'The database has tables of another program: give Porthor an empty database, or that of Gafaelfawr.',
        { cause: error },
      )
    }
    throw new MigrationError(`A migration failed: ${firstLines(error.message)}`, { cause: error })
  }
}

async function isEngineAtWork(client: pg.Client): Promise<boolean> {
  const { rowCount } = await client.query(
    `SELECT FROM pg_locks
     WHERE locktype = 'advisory' AND classid = 0 AND objid = $1 AND objsubid = 1
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    [ENGINE_LOCK],
  )
  return rowCount !== 0
}

async function waitForOthers(deadline: number): Promise<void> {
  if (systemClock.monotonicMs() > deadline) {
    throw new MigrationError(
      'Another process has been migrating the database for too long: check what it does, end it, and try again.',
    )
  }
  await delay(LOOK_AGAIN_MS)
}

async function withEngine(
  databaseUrl: PostgresUrl,
  lockTimeoutMs: number,
  work: (engine: SchemaEngine) => Promise<void>,
): Promise<void> {
  const engine = await openSchemaEngine(databaseUrl, lockTimeoutMs)
  try {
    await work(engine)
  } finally {
    await engine.close()
  }
}

async function withConnection<T>(
  databaseUrl: PostgresUrl,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = await connect(databaseUrl)
  try {
    if (await areSessionsShared(databaseUrl, client)) {
      throw new MigrationError(
        'DATABASE_URL names a pooler that shares sessions among its clients (pool_mode=transaction or statement), and Porthor needs sessions of its own: set pool_mode=session in PgBouncer, or name PostgreSQL itself.',
      )
    }
    return await work(client)
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** Its errors name host, database and user, and never the password. */
async function connect(databaseUrl: PostgresUrl): Promise<pg.Client> {
  const client = createClient(databaseUrl, {
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: 'porthor migrate',
    isUnbounded: true,
  })
  try {
    await client.connect()
    return client
  } catch (error) {
    const reason = error instanceof Error ? error.message || ('code' in error && error.code) : error
    const { host, port, database, user } = client
    throw new MigrationError(
      `Cannot connect to PostgreSQL at ${host}:${port}/${database}${user ? ` as ${user}` : ''}: ${reason}`,
    )
  }
}
