import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { type ServerProcess, serverSecrets, startServer } from '../support/processes/server-process.ts'
import { freshDatabase, freshRedis } from '../support/stores/stores.ts'

const PATIENT = { timeout: 20_000, interval: 50 }

const SESSION =
  'mutation { made: createSessionToken(input: { username: "wren", scopes: ["read:all"] }) { token } }'

let client: pg.Client
let role: string
let url: string
let database: string

beforeEach(async () => {
  const fresh = await freshDatabase()
  client = new pg.Client(fresh.url)
  client.on('error', () => undefined)
  await client.connect()
  role = `role_${randomBytes(6).toString('hex')}`
  await client.query(`CREATE ROLE ${role} LOGIN PASSWORD 'secret';
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role};
    GRANT USAGE ON SEQUENCE token_change_history_id_seq TO ${role}`)
  const asRole = new URL(fresh.url)
  database = asRole.pathname.slice(1)
  asRole.username = role
  asRole.password = 'secret'
  url = asRole.href
  return async () => {
    await client.end()
    await fresh.drop()
  }
})

/** What is taken from the role, what the start says of it, what gives it back, and what readiness says. */
const RIGHTS = [
  {
    what: 'a right on a table',
    take: () => `REVOKE INSERT ON token_change_history FROM ${role}`,
    give: () => `GRANT INSERT ON token_change_history TO ${role}`,
    said: /GRANT INSERT ON TABLE token_change_history TO/,
  },
  {
    what: 'the sequence of the history',
    take: () => `REVOKE USAGE ON SEQUENCE token_change_history_id_seq FROM ${role}`,
    give: () => `GRANT USAGE ON SEQUENCE token_change_history_id_seq TO ${role}`,
    said: /GRANT USAGE ON SEQUENCE token_change_history_id_seq TO/,
  },
]

/** What may come back by itself: the end of a failover. */
const WRITES = {
  what: 'a database that takes writes',
  take: () => `ALTER DATABASE ${database} SET default_transaction_read_only = on`,
  give: () => `ALTER DATABASE ${database} RESET default_transaction_read_only`,
}

interface Readiness {
  readonly issuing: string
}

const dropSessions = () =>
  client.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [role])

describe('a server whose role in PostgreSQL lacks', { timeout: 60_000 }, () => {
  it.each(RIGHTS)('$what does not start, and reports what is missing', async ({ take, said }) => {
    await client.query(take())
    await expect(start()).rejects.toThrow(said)
  })

  it(`${WRITES.what} starts, is not ready and says why, and works as soon as it has one`, async () => {
    await client.query(WRITES.take())
    const { server, admin } = await start()
    const readiness = async () => {
      const response = await fetch(new URL('/readyz', server.url))
      return { status: response.status, body: await response.json() }
    }
    // The data of a Redis are known to be current once PostgreSQL takes writes.
    expect(await readiness()).toEqual({
      status: 503,
      body: { tokens: 'unavailable', issuing: 'unavailable', reason: 'PostgreSQL takes no writes' },
    })
    expect(server.logLines.map(({ msg, reason }) => ({ msg, reason }))).toContainEqual({
      msg: 'not ready',
      reason: expect.stringContaining('name the primary in DATABASE_URL'),
    })
    expect(await server.ask(SESSION, { token: admin })).toMatchObject({ status: 503, code: 'UNAVAILABLE' })
    await client.query(WRITES.give())
    await dropSessions()
    await vi.waitFor(async () => expect(await readiness()).toMatchObject({ status: 200 }), PATIENT)
    await vi.waitFor(
      async () => expect(await server.ask(SESSION, { token: admin })).toMatchObject({ errors: [] }),
      PATIENT,
    )
  })

  it.each([...RIGHTS, WRITES])(
    '$what, revoked later, reports that it cannot issue tokens, and issues none, until it is granted again',
    async ({ take, give }) => {
      const { server, admin } = await start()
      const issuing = async () =>
        ((await (await fetch(new URL('/readyz', server.url))).json()) as Readiness).issuing
      const create = () => server.ask(SESSION, { token: admin })
      await vi.waitFor(async () => expect(await issuing()).toBe('ok'), PATIENT)
      await client.query(take())
      await dropSessions()
      await vi.waitFor(async () => expect(await issuing()).toBe('unavailable'), PATIENT)
      expect(await create()).toMatchObject({ status: 503, code: 'UNAVAILABLE' })
      await client.query(give())
      await dropSessions()
      await vi.waitFor(async () => expect(await issuing()).toBe('ok'), PATIENT)
      await vi.waitFor(async () => expect(await create()).toMatchObject({ status: 200, errors: [] }), PATIENT)
    },
  )
})

async function start(): Promise<{ server: ServerProcess; admin: string }> {
  const secrets = serverSecrets()
  const server = await startServer({ ...secrets, DATABASE_URL: url, REDIS_URL: (await freshRedis()).url })
  onTestFinished(async () => void (await server.stop()))
  return { server, admin: secrets.BOOTSTRAP_TOKEN }
}
