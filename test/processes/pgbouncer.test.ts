import pg from 'pg'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { Environment } from '../../src/config/config.ts'
import { parseToken } from '../../src/domain/token.ts'
import { parsePostgresUrl } from '../../src/lib/postgres-url.ts'
import { assertMigrated } from '../../src/stores/migrations/migrations.ts'
import { runPorthor } from '../support/processes/cli.ts'
import { type ServerProcess, serverSecrets, startServer } from '../support/processes/server-process.ts'
import { type PgBouncer, startPgBouncer } from '../support/stores/pgbouncer.ts'
import { emptyDatabase, freshDatabase } from '../support/stores/stores.ts'
import { openTcpProxy } from '../support/stores/tcp-proxy.ts'

// Commands and servers are processes of their own, which take their time on a busy machine.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

/** Long enough on a busy machine; nothing is decided by it. */
const PATIENT = { timeout: 30_000, interval: 100 }

async function openStores(
  open: typeof freshDatabase,
  settings: Parameters<typeof startPgBouncer>[1],
): Promise<{ readonly env: Environment; readonly directUrl: string; readonly pooler: PgBouncer }> {
  const database = await open()
  const pooler = await startPgBouncer(database.url, settings)
  onTestFinished(async () => {
    await pooler.stop()
    await database.drop()
  })
  const env = {
    ...serverSecrets(),
    NODE_ENV: 'production',
    TOKEN_STORE: 'postgres',
    DATABASE_URL: pooler.through(database.url),
  }
  return { env, directUrl: database.url, pooler }
}

async function start(env: Environment): Promise<ServerProcess> {
  const server = await startServer(env)
  onTestFinished(async () => void (await server.stop()))
  return server
}

async function makeSession(server: ServerProcess, env: Environment): Promise<string> {
  const { data } = await server.ask(
    'mutation { createSessionToken(input: { username: "wren", scopes: ["user:token", "read:all"] }) { token } }',
    { token: env.BOOTSTRAP_TOKEN ?? '' },
  )
  return (data as { createSessionToken: { token: string } }).createSessionToken.token
}

const DELEGATE = 'mutation { internalToken(service: "tap", scopes: ["read:all"]) { token source } }'

const createUser = (server: ServerProcess, token: string, name: string) =>
  server.ask(
    `mutation { createUserToken(input: { tokenName: "${name}", scopes: ["read:all"] }) { token } }`,
    { token },
  )

describe('behind a PgBouncer in session mode', () => {
  it('migrate, serve, delegation, revocation, maintenance and the audit work as without one', async () => {
    const { env } = await openStores(emptyDatabase, { pool_mode: 'session' })
    expect(await runPorthor(['migrate'], env)).toMatchObject({ code: 0, stderr: '' })
    const server = await start(env)
    const session = await makeSession(server, env)
    const { data } = await server.ask(DELEGATE, { token: session })
    const { token: child, source } = (data as { internalToken: { token: string; source: string } })
      .internalToken
    expect(source).toBe('NEW')
    const revoked = await server.ask(`mutation { revokeToken(key: "${parseToken(session).key}") { keys } }`, {
      token: session,
    })
    expect(revoked.code).toBe(undefined)
    for (const token of [session, child]) {
      expect((await server.ask('{ viewer { user { username } } }', { token })).code).toBe('UNAUTHENTICATED')
    }
    expect(await runPorthor(['maintenance'], env)).toMatchObject({ code: 0, stderr: '' })
    expect(await runPorthor(['audit'], env)).toMatchObject({ code: 0, stderr: '' })
  })
})

describe('behind a PgBouncer in transaction mode', () => {
  const REFUSAL =
    /^porthor: DATABASE_URL names a pooler that shares sessions among its clients .*: set pool_mode=session in PgBouncer, or name PostgreSQL itself\.\n$/

  it('no command that uses the database starts, and the error states what would be right', async () => {
    const { env, directUrl } = await openStores(emptyDatabase, { pool_mode: 'transaction' })
    const isRefused = async (...command: string[]) => {
      const { code, stdout, stderr } = await runPorthor(command, { ...env, PORT: '0' })
      // The audit has 1 for findings.
      const failure = command[0] === 'audit' ? 2 : 1
      expect([command, code, stdout, stderr]).toEqual([command, failure, '', expect.stringMatching(REFUSAL)])
    }
    await isRefused('migrate')
    expect(await runPorthor(['migrate'], { ...env, DATABASE_URL: directUrl })).toMatchObject({ code: 0 })
    for (const command of [['serve'], ['maintenance'], ['audit'], ['token', 'list']]) {
      await isRefused(...command)
    }
  })

  it.each([
    ['that lends the session again that came back last', {}],
    ['that takes turns among sessions', { server_round_robin: 1 }],
    ['that resets each session that comes back', { server_reset_query_always: 1 }],
    ['that has one session', { default_pool_size: 1 }],
  ])('%s, with few or many open sessions, the mode is detected', async (_name, settings) => {
    const { env } = await openStores(freshDatabase, { pool_mode: 'transaction', ...settings })
    const clients = new pg.Pool({ connectionString: env.DATABASE_URL, max: 5 })
    onTestFinished(() => clients.end())
    for (const count of [0, 2, 3, 5]) {
      // Transactions at the same time need sessions of their own.
      await Promise.all(Array.from({ length: count }, () => clients.query('SELECT pg_sleep(0.1)')))
      await expect(assertMigrated(parsePostgresUrl(env.DATABASE_URL ?? ''))).rejects.toThrow(
        'pool_mode=session',
      )
    }
  })
})

describe('a connection to a PgBouncer in session mode that stops responding', () => {
  it('from an INSERT on makes the request fail within its time limit, and no later request commits its transaction (rule 21)', async () => {
    const { env } = await openStores(freshDatabase, { pool_mode: 'session' })
    const cable = await openTcpProxy(env.DATABASE_URL ?? '')
    onTestFinished(() => cable.close())
    // What takes a connection next takes the one of the request that failed, if that is kept.
    const url = `${cable.through(env.DATABASE_URL ?? '')}?connection_limit=1`
    const server = await start({ ...env, DATABASE_URL: url })
    const [first, second] = [await makeSession(server, env), await makeSession(server, env)]
    const observer = new pg.Client(env.DATABASE_URL)
    await observer.connect()
    onTestFinished(() => observer.end())
    const namesThatExist = async () => {
      const { rows } = await observer.query('SELECT token_name FROM token WHERE token_name IS NOT NULL')
      return rows.map((row) => row.token_name).sort()
    }
    const silent = cable.stopAt('INSERT INTO token (', 'delay')
    const failing = createUser(server, first, 'lost')
    await silent
    cable.stall()
    expect((await failing).code).toBe('UNAVAILABLE')
    await cable.pass()
    const kept = ['kept-1', 'kept-2', 'kept-3']
    for (const name of kept) {
      await vi.waitFor(async () => {
        expect((await createUser(server, second, name)).code).toBe(undefined)
      }, PATIENT)
    }
    expect(await namesThatExist()).toEqual(kept)
  })
})
