import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'

const FIXTURES = new URL('../../fixtures/gafaelfawr/', import.meta.url)

/** Text of one of the files that a running Gafaelfawr left: see the README beside them. */
export const readFixture = (name: string): Promise<string> =>
  readFile(fileURLToPath(new URL(name, FIXTURES)), 'utf8')

/** The tables with Gafaelfawr's rows, in an order that their foreign keys allow. */
export const GAFAELFAWR_TABLES = ['token', 'subtoken', 'token_change_history'] as const

/** Makes the tables of a Gafaelfawr's database, as pg_dump prints them. */
export async function createGafaelfawrTables(client: pg.Client): Promise<void> {
  await client.query(await readFixture('catalog.sql'))
}

/** Writes Gafaelfawr's rows into the tables, which are there already. */
export async function loadGafaelfawrRows(client: pg.Client): Promise<void> {
  for (const table of GAFAELFAWR_TABLES) {
    const rows = (await readFixture(`${table}.jsonl`)).trim().split('\n').join(',')
    await client.query(`INSERT INTO ${table} SELECT * FROM json_populate_recordset(NULL::${table}, $1)`, [
      `[${rows}]`,
    ])
  }
  await client.query(
    `SELECT setval('token_change_history_id_seq', (SELECT max(id) FROM token_change_history))`,
  )
}
