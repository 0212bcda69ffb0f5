import { Redis } from 'ioredis'
import pg from 'pg'
import { expect, it, onTestFinished, vi } from 'vitest'
import type { Environment } from '../../src/config/config.ts'
import { parseToken } from '../../src/domain/token.ts'
import { type ServerProcess, serverSecrets, startServer } from '../support/processes/server-process.ts'
import { freshDatabase, freshRedis } from '../support/stores/stores.ts'
import { openTcpProxy } from '../support/stores/tcp-proxy.ts'

// Starting a server takes seconds, on a busy machine many.
vi.setConfig({ testTimeout: 180_000 })

const SESSION = `mutation {
  made: createSessionToken(input: { username: "wren", scopes: ["user:token", "read:all"] }) { token } }`
const NOTEBOOK = 'mutation { made: notebookToken { token } }'
const INTERNAL =
  'mutation ($service: String!) { made: internalToken(service: $service, scopes: ["read:all"]) { token } }'
const USER = 'mutation { made: createUserToken(input: { tokenName: "late" }) { token } }'
const REVOKE = 'mutation ($key: ID!) { revokeToken(key: $key) { keys } }'
const VIEWER = '{ viewer { token { key } } }'

/** How long a server may take until it completes what another has left, in milliseconds: the machine may be busy. */
const COMPLETED_MS = 60_000

async function openStores() {
  const database = await freshDatabase()
  onTestFinished(database.drop)
  const sql = new pg.Client(database.url)
  sql.on('error', () => undefined)
  await sql.connect()
  onTestFinished(() => sql.end())
  const { url } = await freshRedis()
  const redis = new Redis(url)
  onTestFinished(async () => redis.disconnect())
  const proxy = await openTcpProxy(url)
  onTestFinished(proxy.close)
  const secrets = serverSecrets()
  const env: Environment = { ...secrets, DATABASE_URL: database.url, REDIS_URL: url }
  const start = async (changed: Environment = {}) => {
    const server = await startServer({ ...env, ...changed })
    onTestFinished(async () => void (await server.stop()))
    return server
  }
  return {
    sql,
    redis,
    proxy,
    start,
    admin: secrets.BOOTSTRAP_TOKEN,
    stalled: { REDIS_URL: proxy.through(url) },
  }
}

const make = async (server: ServerProcess, query: string, token: string, variables = {}): Promise<string> => {
  const { data, errors } = await server.ask(query, { token, variables })
  expect(errors).toEqual([])
  return (data as { made: { token: string } }).made.token
}

it.each([
  ['another server', true],
  ['the server that is started again', false],
])(
  'a revocation whose server is killed between its decision and the first deletion is completed by %s, and nothing is issued meanwhile',
  async (_who, hasOther) => {
    const { sql, redis, proxy, start, admin, stalled } = await openStores()
    const killed = await start(stalled)
    const session = await make(killed, SESSION, admin)
    const notebook = await make(killed, NOTEBOOK, session)
    const internal = await make(killed, INTERNAL, notebook, { service: 'early' })
    const tokens = [session, notebook, internal]
    const other = hasOther ? await start() : undefined

    const sent = proxy.stopAt('del', 'hold')
    const lost = killed.ask(REVOKE, { token: admin, variables: { key: parseToken(session).key } }).then(
      () => 'answered',
      () => 'cut off',
    )
    await sent
    await killed.kill()
    expect(await lost).toBe('cut off')
    const isDecided = async () => (await sql.query('SELECT FROM porthor_pending_change')).rowCount === 1
    const decided = await isDecided()

    const server = other ?? (await start())
    const refused = [
      ...tokens.flatMap((token) => [
        [token, INTERNAL, { service: 'late' }] as const,
        [token, REVOKE, { key: parseToken(token).key }] as const,
      ]),
      [session, USER, {}] as const,
    ]
    for (const [token, query, variables] of refused) {
      expect((await server.ask(query, { token, variables })).code).toBe('UNAUTHENTICATED')
    }
    expect(decided).toBe(true)
    await vi.waitFor(async () => expect(await isDecided()).toBe(false), {
      timeout: COMPLETED_MS,
      interval: 50,
    })
    for (const token of tokens) expect((await server.ask(VIEWER, { token })).code).toBe('UNAUTHENTICATED')
    expect(await redis.keys('token:*')).toEqual([])
    expect((await sql.query('SELECT FROM token')).rowCount).toBe(0)
    const { rows } = await sql.query<{ token: string }>(
      "SELECT token FROM token_change_history WHERE action = 'revoke' ORDER BY id",
    )
    expect(rows.map(({ token }) => token)).toEqual(tokens.toReversed().map((token) => parseToken(token).key))
  },
)
