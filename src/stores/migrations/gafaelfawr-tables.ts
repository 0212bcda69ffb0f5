import type pg from 'pg'
import { type Migration, MigrationError } from './migration-history.ts'

/** The migration that creates the tables shared with Gafaelfawr, in a database without them. */
export const SHARED_TABLES_MIGRATION = '20260101000000_gafaelfawr_tables'

/** Maximum number of differences in an error message. */
const MAX_DIFFERENCES_SHOWN = 3

/** Whether the database has Gafaelfawr's tables, judged by `token`. */
export async function hasSharedTables(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query(`SELECT to_regclass('token') IS NOT NULL AS found`)
  return rows[0]?.found === true
}

/**
 * Requires that the existing tables are like those that `migration` creates. Additions of a newer Gafaelfawr are accepted,
 * except columns that must have a value, since Porthor would not give them one.
 *
 * @throws {MigrationError} Its message names the differences.
 */
export async function requireSharedTables(client: pg.Client, migration: Migration): Promise<void> {
  const found = (await describeTables(client)).map(asOfAnyRelease)
  const expected = (await describeAsMigrated(client, migration)).map(asOfAnyRelease)
  const missing = expected.filter((line) => !found.includes(line))
  const surplus = found.filter((line) => !expected.includes(line) && /^column .* NOT NULL$/.test(line))
  const differences = [
    ...missing.map((line) => `${line} is missing`),
    ...surplus.map((line) => `${line} is not known`),
  ]
  if (differences.length === 0) return
  const shown = differences.slice(0, MAX_DIFFERENCES_SHOWN).join('; ')
  const hidden = differences.length - MAX_DIFFERENCES_SHOWN
  const more = hidden > 0 ? `; and ${hidden} more` : ''
  throw new MigrationError(
    `The database has a table "token" that differs from that of Gafaelfawr 15: ${shown}${more}. ` +
      'Bring its schema up to date with Gafaelfawr first, or give Porthor an empty database.',
  )
}

/**
 * Removes differences between releases of Gafaelfawr that do not matter: older ones limit the lengths of texts, and have
 * keys of `subtoken` without a collation.
 */
const asOfAnyRelease = (line: string): string =>
  line.replace(/ character varying\(\d+\)/, ' text').replace(/^(column subtoken\..*) COLLATE C\b/, '$1')

/** Describes the tables that the migration creates: runs it on temporary tables in a transaction that is rolled back. */
async function describeAsMigrated(client: pg.Client, { sql }: Migration): Promise<readonly string[]> {
  await client.query('BEGIN')
  try {
    await client.query('SET LOCAL search_path = pg_temp')
    await client.query(sql)
    return await describeTables(client)
  } finally {
    await client.query('ROLLBACK')
  }
}

/** Returns one line for each column, constraint and enum value of the three tables in the search path. */
async function describeTables(client: pg.Client): Promise<readonly string[]> {
  const { rows } = await client.query<{ line: string }>(
    `WITH shared AS (
       SELECT oid, relname FROM pg_class
       WHERE relname IN ('token', 'subtoken', 'token_change_history') AND relkind = 'r' AND pg_table_is_visible(oid)
     )
     SELECT concat('column ', relname, '.', attname, ' ', format_type(atttypid, atttypmod),
              ' COLLATE ' || nullif(collname, 'default'), ' DEFAULT ' || pg_get_expr(adbin, adrelid),
              CASE WHEN attnotnull THEN ' NOT NULL' END) AS line
     FROM shared JOIN pg_attribute ON attrelid = shared.oid LEFT JOIN pg_collation l ON l.oid = attcollation
       LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
     WHERE attnum > 0 AND NOT attisdropped
     UNION ALL
     SELECT concat('constraint of ', relname, ' ', pg_get_constraintdef(c.oid))
     FROM shared JOIN pg_constraint c ON conrelid = shared.oid WHERE contype <> 'n'
     UNION ALL
     SELECT concat('value ', enumlabel, ' of type ', typname)
     FROM pg_enum JOIN pg_type t ON t.oid = enumtypid
     WHERE typname IN ('tokentype', 'tokenchange') AND pg_type_is_visible(t.oid)`,
  )
  return rows.map(({ line }) => line)
}
