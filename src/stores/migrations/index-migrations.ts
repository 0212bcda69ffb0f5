import pg from 'pg'
import { ENGINE_LOCK } from '../database/advisory-locks.ts'
import { type AppliedMigration, type Migration, MigrationError, readHistory } from './migration-history.ts'
import { WAITED_TOO_LONG } from './schema-engine.ts'

/**
 * A migration of one statement, which PostgreSQL runs outside of a transaction: writers go on while the index is
 * built, and what a run leaves that was cut off is an index that is not valid.
 */
const STATEMENT = /^(?:--.*\n|\s)*CREATE INDEX CONCURRENTLY IF NOT EXISTS (\w+)\s+ON (\w+)\b[^;]*;\s*$/

/** The index that a migration builds, and its table; `undefined` for a migration that does anything else. */
export function indexOf({ sql }: Migration): { readonly index: string; readonly table: string } | undefined {
  const [, index, table] = STATEMENT.exec(sql) ?? []
  return index && table ? { index, table } : undefined
}

/** Whether `porthor migrate` takes a migration up again by itself. */
export const isResumable = (migrations: readonly Migration[], name: string): boolean =>
  migrations.some((migration) => migration.name === name && indexOf(migration) !== undefined)

/**
 * The names of index migrations that have to run again: those that are not finished, and those whose index is not
 * valid, whatever their record says, as `IF NOT EXISTS` passes over such an index.
 */
export async function findReleasable(
  client: pg.Client,
  migrations: readonly Migration[],
  history: readonly AppliedMigration[],
): Promise<readonly string[]> {
  const invalid = await readInvalid(client, migrations)
  const unfinished = new Set(history.filter(({ finished }) => !finished).map(({ name }) => name))
  return migrations
    .filter((migration) => {
      const found = indexOf(migration)
      return found && (unfinished.has(migration.name) || invalid.includes(found.index))
    })
    .map(({ name }) => name)
}

/**
 * Makes these migrations ready to run again: drops indexes that are not valid, and marks records as rolled back.
 * Resolves to whether it was done: nothing is where another engine is at work.
 */
export async function releaseIndexes(client: pg.Client, migrations: readonly Migration[]): Promise<boolean> {
  const { rows } = await client.query('SELECT pg_try_advisory_lock($1) AS taken', [ENGINE_LOCK])
  if (!rows[0]?.taken) return false
  try {
    // Looked at again under the lock: an engine may have worked in between.
    const names = await findReleasable(client, migrations, await readHistory(client))
    for (const index of await readInvalid(client, migrations)) await dropIndex(client, index)
    const record = await client.query(`SELECT to_regclass('_prisma_migrations') IS NOT NULL AS found`)
    if (!record.rows[0]?.found) return true
    await client.query(
      'UPDATE _prisma_migrations SET rolled_back_at = now() WHERE rolled_back_at IS NULL AND migration_name = ANY($1)',
      [names],
    )
    return true
  } finally {
    await client.query('SELECT pg_advisory_unlock($1)', [ENGINE_LOCK]).catch(() => undefined)
  }
}

async function dropIndex(client: pg.Client, index: string): Promise<void> {
  try {
    await client.query(`DROP INDEX CONCURRENTLY IF EXISTS ${pg.escapeIdentifier(index)}`)
  } catch (error) {
    const { message, code } = error as pg.DatabaseError
    if (!WAITED_TOO_LONG.includes(code ?? '')) throw error
    throw new MigrationError(
      `Dropping ${index}, which a run has left that was cut off, waited too long for other transactions (${message}). ` +
        'When these have ended, run `porthor migrate` again.',
    )
  }
}

async function readInvalid(client: pg.Client, migrations: readonly Migration[]): Promise<readonly string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT relname AS name FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
     WHERE relname = ANY($1) AND NOT indisvalid AND pg_table_is_visible(indexrelid)`,
    [migrations.flatMap((migration) => indexOf(migration)?.index ?? [])],
  )
  return rows.map(({ name }) => name)
}

/** The error for an index migration that is not completed. */
export const notCompleted = ({ name }: AppliedMigration): MigrationError =>
  new MigrationError(`Migration ${name} was begun and not completed: run \`porthor migrate\` again.`)

/**
 * The error for an index whose build waited too long for transactions that were there before it, and that had to
 * end first; `undefined` where it failed otherwise.
 */
export async function waitedTooLong(
  client: pg.Client,
  migration: Migration,
  message: string,
  lockTimeoutMs: number,
): Promise<MigrationError | undefined> {
  const found = indexOf(migration)
  if (!found || !WAITED_TOO_LONG.some((code) => message.includes(`(${code})`))) return undefined
  const { rows } = await client.query<{ pid: number; name: string }>(
    `SELECT pid, coalesce(nullif(application_name, ''), 'without a name') AS name FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
     ORDER BY xact_start LIMIT 3`,
  )
  const others = rows.map(({ pid, name }) => `process ${pid} (${name})`).join(', ')
  return new MigrationError(
    `Building ${found.index} waited ${lockTimeoutMs / 1000} s for a transaction that was begun before it` +
      `${others && `, the oldest being of ${others}`}. Indexes that are built stay. When it has ended, run ` +
      '`porthor migrate` again.',
  )
}
