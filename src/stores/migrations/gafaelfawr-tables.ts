import type pg from 'pg'
import { type Migration, MigrationError } from './migration-history.ts'

/** The migration that makes the tables shared with Gafaelfawr, on a database that has not got them yet. */
export const SHARED_TABLES_MIGRATION = '20260101000000_gafaelfawr_tables'

const FAULTS_TOLD = 3

/** Whether the database has Gafaelfawr's tables, as far as their chief one tells. */
export async function hasSharedTables(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query(`SELECT to_regclass('token') IS NOT NULL AS found`)
  return rows[0]?.found === true
}

/**
 * Insists that the tables which are there are those that `migration` would have made. More than that is
 * fine (a newer Gafaelfawr may have it), unless it is a column that our inserts would leave empty.
 *
 * @throws {MigrationError} naming what is missing.
 */
export async function requireSharedTables(client: pg.Client, migration: Migration): Promise<void> {
  const found = (await describeTables(client)).map(asOfAnyRelease)
  const expected = (await describeAsMigrated(client, migration)).map(asOfAnyRelease)
  const missing = expected.filter((line) => !found.includes(line))
  const surplus = found.filter((line) => !expected.includes(line) && /^column .* NOT NULL$/.test(line))
  const faults = [
    ...missing.map((line) => `${line} is missing`),
    ...surplus.map((line) => `${line} is not known`),
  ]
  if (faults.length === 0) return
  const more = faults.length > FAULTS_TOLD ? `; and ${faults.length - FAULTS_TOLD} more` : ''
  throw new MigrationError(
    `The database has a table "token", but not as Gafaelfawr 15 makes it: ${faults.slice(0, FAULTS_TOLD).join('; ')}${more}. ` +
      'Bring its schema up to date with Gafaelfawr first, or give Porthor an empty database.',
  )
}

/**
 * Released Gafaelfawrs have limits on lengths, which later ones dropped, and keys of `subtoken` without a collation of
 * their own. Neither makes a difference to what we write and read.
 */
const asOfAnyRelease = (line: string): string =>
  line.replace(/ character varying\(\d+\)/, ' text').replace(/^(column subtoken\..*) COLLATE C\b/, '$1')

/** Runs the migration on temporary tables, which are gone with the transaction, and looks at these. */
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

/** One line for each column, constraint and enum value of the three tables that the search path leads to. */
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
