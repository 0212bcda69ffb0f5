import pg from 'pg'
import { ENGINE_LOCK } from '../database/advisory-locks.ts'
import { type AppliedMigration, type Migration, MigrationError, readHistory } from './migration-history.ts'
import { WAITED_TOO_LONG } from './schema-engine.ts'

/**
 * A migration of one statement that PostgreSQL runs outside a transaction: other sessions can write while the index is built,
 * and an interrupted build leaves an invalid index.
 */
const STATEMENT = /^(?:--.*\n|\s)*CREATE INDEX CONCURRENTLY IF NOT EXISTS (\w+)\s+ON (\w+)\b[^;]*;\s*$/

/** Returns the index that a migration builds, and its table; `undefined` for any other migration. */
export function indexOf({ sql }: Migration): { readonly index: string; readonly table: string } | undefined {
  const [, index, table] = STATEMENT.exec(sql) ?? []
  return index && table ? { index, table } : undefined
}

/** Whether `porthor migrate` runs an interrupted migration again by itself. */
export const isResumable = (migrations: readonly Migration[], name: string): boolean =>
  migrations.some((migration) => migration.name === name && indexOf(migration) !== undefined)

/**
 * Returns the names of index migrations that must run again: those that are not finished, and those whose index is invalid,
 * also if they are recorded as applied, since `IF NOT EXISTS` skips an invalid index.
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
 * Prepares these migrations to run again: drops invalid indexes, and marks the migrations as rolled back. Resolves to false,
 * and does nothing, while another engine is running.
 */
export async function releaseIndexes(client: pg.Client, migrations: readonly Migration[]): Promise<boolean> {
  const { rows } = await client.query('SELECT pg_try_advisory_lock($1) AS taken', [ENGINE_LOCK])
  if (!rows[0]?.taken) return false
  try {
    // Read again under the lock: an engine may have run in between.
    const names = await findReleasable(client, migrations, await readHistory(client))
    for (const index of await readInvalid(client, migrations)) await dropIndex(client, index)
    const table = await client.query(`SELECT to_regclass('_prisma_migrations') IS NOT NULL AS found`)
    if (!table.rows[0]?.found) return true
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
      `Dropping ${index}, which an interrupted run has left, waited too long for other transactions (${message}). ` +
        'When they have ended, run `porthor migrate` again.',
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

/** Returns the error for an index migration that was interrupted. */
export const notCompleted = ({ name }: AppliedMigration): MigrationError =>
  new MigrationError(`Migration ${name} was interrupted: run \`porthor migrate\` again.`)

/**
 * Returns the error for an index whose build waited too long for older transactions to end; `undefined` if the build failed
 * for another reason.
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
    `Building ${found.index} waited ${lockTimeoutMs / 1000} s for a transaction that began before it` +
      `${others && `; the oldest are of ${others}`}. Finished indexes remain. When the transaction has ended, run ` +
      '`porthor migrate` again.',
  )
}
