import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import pg from 'pg'
import { describe, expect, it, onTestFinished } from 'vitest'
import { runPorthor } from '../support/processes/cli.ts'
import { serverSecrets, startServer } from '../support/processes/server-process.ts'
import { createGafaelfawrTables, GAFAELFAWR_TABLES } from '../support/stores/gafaelfawr.ts'
import { emptyDatabase, freshRedis } from '../support/stores/stores.ts'

const SESSION =
  'mutation { made: createSessionToken(input: { username: "wren", scopes: ["read:all"] }) { token } }'
const DELEGATE = 'mutation { lent: internalToken(service: "tap", scopes: ["read:all"]) { source } }'

/** A database with the roles of the docs, by other names: roles belong to the whole server, which other tests use. */
async function openDatabase() {
  const database = await emptyDatabase()
  const client = new pg.Client(database.url)
  client.on('error', () => undefined)
  await client.connect()
  const suffix = randomBytes(6).toString('hex')
  const roles = { migrate: `migrate_${suffix}`, serve: `serve_${suffix}`, gafaelfawr: `theirs_${suffix}` }
  for (const role of Object.values(roles)) await client.query(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'`)
  onTestFinished(async () => {
    await client.end()
    await database.drop()
  })
  const urlAs = (role: string): string => {
    const url = new URL(database.url)
    url.username = role
    url.password = 'secret'
    return url.href
  }
  return { client, roles, urlAs }
}

type Roles = Awaited<ReturnType<typeof openDatabase>>['roles']

/** What the docs tell the superuser, and then the role that migrated, to run. */
async function readStatements(roles: Roles): Promise<readonly [forMigrating: string, forServing: string]> {
  const text = await readFile(new URL('../../docs/guides/postgresql.md', import.meta.url), 'utf8')
  const section = text.slice(text.indexOf('## Roles and rights'))
  const [forMigrating = '', forServing = ''] = [...section.matchAll(/```sql\n(.*?)```/gs)].map(([, sql]) =>
    (sql ?? '')
      .replaceAll('porthor_migrate', roles.migrate)
      .replaceAll(/\bporthor;/g, `${roles.serve};`)
      .replaceAll('gafaelfawr', roles.gafaelfawr),
  )
  return [forMigrating, forServing]
}

describe('the statements of the docs are all that two roles need, one that migrates and one that serves', () => {
  it.each([
    ['a database of its own', false],
    ['the tables of a Gafaelfawr', true],
  ])('on %s', { timeout: 240_000 }, async (_, isBesideGafaelfawr) => {
    const { client, roles, urlAs } = await openDatabase()
    if (isBesideGafaelfawr) {
      await createGafaelfawrTables(client)
      for (const table of GAFAELFAWR_TABLES)
        await client.query(`ALTER TABLE ${table} OWNER TO ${roles.gafaelfawr}`)
    }
    const [forMigrating, forServing] = await readStatements(roles)
    await client.query(forMigrating)
    const migrated = await runPorthor(['migrate'], { DATABASE_URL: urlAs(roles.migrate) })
    expect(migrated).toMatchObject({ code: 0, stderr: expect.not.stringContaining('lacks') })

    const migrator = new pg.Client(urlAs(roles.migrate))
    await migrator.connect()
    await migrator.query(forServing).finally(() => migrator.end())
    const secrets = serverSecrets()
    const env = { ...secrets, DATABASE_URL: urlAs(roles.serve), REDIS_URL: (await freshRedis()).url }
    const server = await startServer(env)
    onTestFinished(async () => void (await server.stop()))
    const made = await server.ask(SESSION, { token: secrets.BOOTSTRAP_TOKEN })
    expect(made.errors).toEqual([])
    const { token } = (made.data as { made: { token: string } }).made
    expect(await server.ask(DELEGATE, { token })).toMatchObject({ data: { lent: { source: 'NEW' } } })
    expect(await runPorthor(['maintenance'], env)).toMatchObject({ code: 0 })
    expect(await runPorthor(['audit', '--fix'], env)).toMatchObject({ code: 0 })
  })
})
