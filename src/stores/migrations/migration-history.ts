import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type pg from 'pg'

/** The schema of the database is not the one that this version of Porthor needs. The message has the remedy. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError'
}

/** A folder of `prisma/migrations`. */
export interface Migration {
  readonly name: string
  readonly sql: string
}

/** A row of Prisma's table that is not marked as rolled back. */
export interface AppliedMigration {
  readonly name: string
  readonly checksum: string
  readonly finished: boolean
  readonly logs: string | null
}

/** Reads the migrations of this program, in the order in which they are applied. */
export async function readMigrations(dir: string): Promise<readonly Migration[]> {
  const entries = await readdir(dir, { withFileTypes: true })
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
  return Promise.all(
    names
      .sort()
      .map(async (name) => ({ name, sql: await readFile(join(dir, name, 'migration.sql'), 'utf8') })),
  )
}

/** Reads the applied migrations from Prisma's table; returns an empty list if there is no such table. */
export async function readHistory(client: pg.Client): Promise<readonly AppliedMigration[]> {
  const table = await client.query<{ isThere: boolean; mayRead: boolean; role: string }>(
    `SELECT found IS NOT NULL AS "isThere", has_table_privilege(found, 'SELECT') AS "mayRead",
       quote_ident(current_user) AS role
     FROM to_regclass('_prisma_migrations') AS found`,
  )
  const [{ isThere, mayRead, role } = { isThere: false, mayRead: false, role: '' }] = table.rows
  if (!isThere) return []
  if (!mayRead) {
    throw new MigrationError(
      `The role ${role} may not read the list of applied migrations. Run as the owner of the tables: ` +
        `GRANT SELECT ON TABLE _prisma_migrations TO ${role}.`,
    )
  }
  const { rows } = await client.query<AppliedMigration>(
    `SELECT migration_name AS name, checksum, finished_at IS NOT NULL AS finished, logs
     FROM _prisma_migrations WHERE rolled_back_at IS NULL ORDER BY started_at`,
  )
  return rows
}

/** Finds a migration that was started and is not finished: it failed, was interrupted or is running. */
export const findUnfinished = (history: readonly AppliedMigration[]): AppliedMigration | undefined =>
  history.find(({ finished }) => !finished)

/**
 * Returns the names of the migrations that the database lacks.
 *
 * @throws {MigrationError} The database has migrations that this program does not have, or has with other content.
 */
export function findUnapplied(
  migrations: readonly Migration[],
  history: readonly AppliedMigration[],
): readonly string[] {
  const known = new Map(
    migrations.map(({ name, sql }) => [name, createHash('sha256').update(sql).digest('hex')]),
  )
  const ahead = history.filter(({ name }) => !known.has(name)).map(({ name }) => name)
  if (ahead.length > 0) {
    throw new MigrationError(
      `The database is ahead of this Porthor: it has the migration ${ahead.join(', ')}. Run the version of Porthor ` +
        'that contains it, or a newer one.',
    )
  }
  const edited = history.filter(({ name, checksum }) => known.get(name) !== checksum).map(({ name }) => name)
  if (edited.length > 0) {
    throw new MigrationError(
      `Migrations were edited after they were applied to the database: ${edited.join(', ')}. Restore their files, ` +
        'and make the change in a new migration.',
    )
  }
  const applied = new Set(history.map(({ name }) => name))
  return [...known.keys()].filter((name) => !applied.has(name))
}

/** Returns the error for a migration that failed earlier or was interrupted, and needs a decision by a person. */
export function failedBefore({ name, logs }: AppliedMigration): MigrationError {
  const set = (column: string) =>
    `UPDATE _prisma_migrations SET ${column} = now() WHERE migration_name = '${name}' AND finished_at IS NULL`
  return new MigrationError(
    logs
      ? `Migration ${name} has failed before (${firstLines(logs)}) and changed nothing. Fix the cause, then ` +
          `release it with: ${set('rolled_back_at')}`
      : `Migration ${name} was interrupted. Check whether its changes are in the database. If so, finish it with: ` +
          `${set('finished_at')}; if not, release it with: ${set('rolled_back_at')}`,
  )
}

/** Returns an error message of the engine on one line, without its stack. */
export const firstLines = (text: string): string =>
  (text.split(/\n +0: /)[0] ?? '').trim().replaceAll(/\s*\n\s*/g, ' ')
