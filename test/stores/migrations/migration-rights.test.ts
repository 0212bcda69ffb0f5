import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parsePostgresUrl } from '../../../src/lib/postgres-url.ts'
import { assertMigrated, migrate } from '../../../src/stores/migrations/migrations.ts'
import { createGafaelfawrTables, GAFAELFAWR_TABLES } from '../../support/stores/gafaelfawr.ts'
import { emptyDatabase, type TestDatabase } from '../../support/stores/stores.ts'

const OURS = [...GAFAELFAWR_TABLES, 'porthor_token_store', 'porthor_pending_change', 'porthor_redis_run']

const log = { info: () => undefined }

let database: TestDatabase
let client: pg.Client
let role: string

beforeEach(async () => {
  database = await emptyDatabase()
  client = new pg.Client(database.url)
  client.on('error', () => undefined)
  await client.connect()
  role = await createRole()
})
afterEach(async () => {
  await client.end()
  await database.drop()
})

async function createRole(): Promise<string> {
  const name = `role_${randomBytes(6).toString('hex')}`
  await client.query(`CREATE ROLE ${name} LOGIN PASSWORD 'secret'`)
  return name
}

function urlOf(name: string): string {
  const url = new URL(database.url)
  url.username = name
  url.password = 'secret'
  return url.href
}

/** Gafaelfawr's tables, owned by a role of its own. */
async function createTheirTables(): Promise<string> {
  const owner = await createRole()
  await createGafaelfawrTables(client)
  for (const table of GAFAELFAWR_TABLES) await client.query(`ALTER TABLE ${table} OWNER TO ${owner}`)
  return owner
}

const readTables = async () =>
  (await client.query("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"))
    .rows

describe('who migrates', () => {
  it('needs to be owner of the tables that get indexes and to create in the schema: both are reported at once, and nothing is changed', async () => {
    const owner = await createTheirTables()
    const before = await readTables()
    const message = await migrate(parsePostgresUrl(urlOf(role)), { log }).catch(
      (error: Error) => error.message,
    )
    expect(message).toContain(`GRANT CREATE ON SCHEMA public TO ${role}`)
    expect(message).toContain(`GRANT ${owner} TO ${role} (the owner of token, token_change_history)`)
    expect(message).toContain('nothing was changed')
    expect(await readTables()).toEqual(before)

    await client.query(`GRANT CREATE ON SCHEMA public TO ${role}; GRANT ${owner} TO ${role}`)
    await migrate(parsePostgresUrl(urlOf(role)), { log })
    await assertMigrated(parsePostgresUrl(urlOf(role)))
  })

  it('needs temporary tables where tables are there to be compared, and its own record', async () => {
    const owner = await createTheirTables()
    const name = new URL(database.url).pathname.slice(1)
    await client.query(
      `GRANT CREATE ON SCHEMA public TO ${owner}; REVOKE TEMPORARY ON DATABASE ${name} FROM PUBLIC`,
    )
    await expect(migrate(parsePostgresUrl(urlOf(owner)), { log })).rejects.toThrow(
      `GRANT TEMPORARY ON DATABASE ${name} TO ${owner}`,
    )
    await client.query(`GRANT TEMPORARY ON DATABASE ${name} TO ${owner}`)
    await migrate(parsePostgresUrl(urlOf(owner)), { log })
    await expect(migrate(parsePostgresUrl(urlOf(role)), { log })).rejects.toThrow(
      `GRANT SELECT ON TABLE _prisma_migrations TO ${role}`,
    )
  })

  it('needs a server that takes writes, and a schema that is there', async () => {
    await client.query(`ALTER ROLE ${role} SET default_transaction_read_only = on`)
    await expect(migrate(parsePostgresUrl(urlOf(role)), { log })).rejects.toThrow(/takes no writes/)
    await client.query(`ALTER ROLE ${role} RESET default_transaction_read_only`)
    await expect(migrate(parsePostgresUrl(`${urlOf(role)}?schema=elsewhere`), { log })).rejects.toThrow(
      /schema .*elsewhere.* does not exist.*CREATE SCHEMA/,
    )
  })
})

describe('who serves', () => {
  it('needs no more than the rights that the documentation names, and each missing one is reported', async () => {
    const owner = await createTheirTables()
    await client.query(`GRANT CREATE ON SCHEMA public TO ${owner}`)
    await migrate(parsePostgresUrl(urlOf(owner)), { log })
    await expect(assertMigrated(parsePostgresUrl(urlOf(role)))).rejects.toThrow(
      `GRANT SELECT ON TABLE _prisma_migrations TO ${role}`,
    )
    const documentation = await readFile(
      new URL('../../../docs/guides/postgresql.md', import.meta.url),
      'utf8',
    )
    const grants = documentation.match(/^GRANT .* TO porthor;$/gm) ?? []
    expect(grants.length).toBe(3)
    for (const grant of grants) {
      await expect(assertMigrated(parsePostgresUrl(urlOf(role)))).rejects.toThrow(/GRANT/)
      const server = new pg.Client(urlOf(owner))
      await server.connect()
      await server.query(grant.replace('TO porthor;', `TO ${role}`)).finally(() => server.end())
    }
    await assertMigrated(parsePostgresUrl(urlOf(role)))
  })

  it.each(OURS)('is refused at start if rights on %s are missing', async (table) => {
    await migrate(parsePostgresUrl(database.url), { log })
    await client.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role}`)
    await client.query(`GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${role}`)
    await assertMigrated(parsePostgresUrl(urlOf(role)))
    await client.query(`REVOKE DELETE ON ${table} FROM ${role}`)
    await expect(assertMigrated(parsePostgresUrl(urlOf(role)))).rejects.toThrow(
      `GRANT DELETE ON TABLE ${table} TO`,
    )
  })
})
