import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type pg from 'pg'

/** The database's structure is not what this version of Porthor needs. The message says what would be right. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError'
}

/** One folder of `prisma/migrations`. */
export interface Migration {
  readonly name: string
  readonly sql: string
}

/** One row of Prisma's table that counts: those marked as rolled back are history only. */
export interface AppliedMigration {
  readonly name: string
  readonly checksum: string
  readonly finished: boolean
  readonly logs: string | null
}

/** The migrations that come with this program, in the order in which they are applied. */
export async function readMigrations(dir: string): Promise<readonly Migration[]> {
  const entries = await readdir(dir, { withFileTypes: true })
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
  return Promise.all(
    names
      .sort()
      .map(async (name) => ({ name, sql: await readFile(join(dir, name, 'migration.sql'), 'utf8') })),
  )
}

/** What Prisma's table says has been done to this database; nothing if there is no such table. */
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
      `The role ${role} may not read what was migrated. Run as the owner of the tables: ` +
        `GRANT SELECT ON TABLE _prisma_migrations TO ${role}.`,
    )
  }
  const { rows } = await client.query<AppliedMigration>(
    `SELECT migration_name AS name, checksum, finished_at IS NOT NULL AS finished, logs
     FROM _prisma_migrations WHERE rolled_back_at IS NULL ORDER BY started_at`,
  )
  return rows
}

/** A migration that was begun and is not finished: it failed, or somebody is at it just now. */
export const findUnfinished = (history: readonly AppliedMigration[]): AppliedMigration | undefined =>
  history.find(({ finished }) => !finished)

/**
 * The names of the migrations that the database still lacks.
 *
 * @throws {MigrationError} The database has had migrations that this program does not know, or knows otherwise.
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
      `The database is ahead of this Porthor: it has had ${ahead.join(', ')}. Run the version of Porthor that ` +
        'brought this, or a newer one.',
    )
  }
  const edited = history.filter(({ name, checksum }) => known.get(name) !== checksum).map(({ name }) => name)
  if (edited.length > 0) {
    throw new MigrationError(
      `Migrations were edited after they had been applied to the database: ${edited.join(', ')}. Restore their ` +
        'files, and make the change a new migration.',
    )
  }
  const applied = new Set(history.map(({ name }) => name))
  return [...known.keys()].filter((name) => !applied.has(name))
}

/** The error for a migration that failed earlier, or was cut off, and must be looked at by a person. */
export function failedBefore({ name, logs }: AppliedMigration): MigrationError {
  const set = (column: string) =>
    `UPDATE _prisma_migrations SET ${column} = now() WHERE migration_name = '${name}' AND finished_at IS NULL`
  return new MigrationError(
    logs
      ? `Migration ${name} has failed before (${firstLines(logs)}) and left no change. Mend the cause, then ` +
          `release it with: ${set('rolled_back_at')}`
      : `Migration ${name} was begun and cut off. Look whether its changes are there. If so, finish it with: ` +
          `${set('finished_at')}; if not, release it with: ${set('rolled_back_at')}`,
  )
}

/** An engine's words on one line, without its stack. */
export const firstLines = (text: string): string =>
  (text.split(/\n +0: /)[0] ?? '').trim().replaceAll(/\s*\n\s*/g, ' ')
