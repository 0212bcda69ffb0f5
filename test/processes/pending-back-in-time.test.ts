import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { type ServerProcess, serverSecrets, startServer } from '../support/processes/server-process.ts'
import { onServer, type RedisProcess, startRedis } from '../support/stores/redis.ts'
import { freshDatabase } from '../support/stores/stores.ts'
import { openTcpProxy } from '../support/stores/tcp-proxy.ts'

// Servers are started, on a busy machine slowly.
vi.setConfig({ testTimeout: 90_000 })

const SCOPES = '["read:all", "read:tap"]'
const ADMIN_SCOPES = '["admin:token", "read:tap"]'
const SESSION = `mutation { made: createSessionToken(input: { username: "wren", scopes: ${SCOPES} }) { token } }`
const USER_TOKEN = `mutation {
  made: createUserToken(input: { username: "wren", tokenName: "desk", scopes: ${ADMIN_SCOPES} }) { token } }`
const CHILD = `mutation { made: internalToken(service: "tap", scopes: ${SCOPES}) { token } }`
const NARROW = 'mutation ($key: ID!) { modifyToken(key: $key, input: { scopes: ["read:tap"] }) { key } }'
const REVOKE = 'mutation ($key: ID!) { revokeToken(key: $key) { keys } }'
/** Both are answered by the record of the current token alone: its row would show an edit anyway. */
const VIEWER = '{ viewer { user { username } } }'
const AS_ADMIN = '{ tokens(username: "robin") { edges { cursor } } }'

/** A server, its way to PostgreSQL, and a Redis whose data are saved when it is told to. */
async function openStage() {
  const dir = await mkdtemp(join(tmpdir(), 'porthor-rdb-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  let redis: RedisProcess = await startRedis({ dir })
  onTestFinished(() => redis.stop())
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const cable = await openTcpProxy(database.url)
  onTestFinished(() => cable.close())
  const secrets = serverSecrets()
  const env = {
    ...secrets,
    DATABASE_URL: cable.through(database.url),
    REDIS_URL: redis.url,
    AUTH_FAILURES_PER_MINUTE: '0',
  }
  const start = async (): Promise<ServerProcess> => {
    const server = await startServer(env)
    onTestFinished(() => server.kill())
    return server
  }
  const server = await start()
  const make = async (query: string, token = secrets.BOOTSTRAP_TOKEN) => {
    const { data, errors } = await server.ask(query, { token })
    expect(errors).toEqual([])
    return (data as { made: { token: string } }).made.token
  }
  /** Asks for a change that PostgreSQL has decided when the server is killed, at `text`; then Redis is as it was saved. */
  const goBackDuring = async (text: string, query: string, token: string): Promise<ServerProcess> => {
    const sent = cable.stopAt(text, 'hold')
    const variables = { key: parseToken(token).key }
    const asked = server.ask(query, { token: secrets.BOOTSTRAP_TOKEN, variables }).catch(() => undefined)
    await sent
    await Promise.all([server.kill(), redis.kill(), asked])
    await cable.pass()
    redis = await startRedis({ port: redis.port, dir })
    return start()
  }
  return { make, goBackDuring, save: () => onServer(redis.port, (control) => control.save()) }
}

const untilCompleted = ({ logLines }: ServerProcess) =>
  vi.waitFor(() => expect(logLines.map(({ msg }) => msg)).toContain('completed pending changes'), {
    timeout: 30_000,
    interval: 5,
  })

/** What `server` answers to each of `tokens`, asked again and again until `event`. */
async function answersUntil(
  server: ServerProcess,
  event: Promise<unknown>,
  query: string,
  tokens: readonly string[],
) {
  const answers = new Set<string>()
  let isOver = false
  const asked = tokens.map(async (token) => {
    while (!isOver) {
      const { code, errors } = await server.ask(query, { token })
      answers.add(errors.length === 0 ? 'accepted' : String(code))
    }
  })
  const over = event.finally(() => {
    isOver = true
  })
  await Promise.all([over, ...asked])
  return answers
}

it('a revocation that is decided holds where the server is killed before both stores have followed it, and Redis has gone back in time', async () => {
  const t = await openStage()
  const session = await t.make(SESSION)
  const child = await t.make(CHILD, session)
  const grandchild = await t.make(CHILD, child)
  await t.save()
  const server = await t.goBackDuring('DELETE FROM token', REVOKE, session)
  const answers = await answersUntil(server, untilCompleted(server), VIEWER, [session, child, grandchild])
  answers.delete('UNAVAILABLE')
  expect([...answers]).toEqual(['UNAUTHENTICATED'])
})

it('an edit that is decided holds where the server is killed before Redis has followed it, and Redis has gone back in time', async () => {
  const t = await openStage()
  const token = await t.make(USER_TOKEN)
  await t.save()
  // What is asked for once the edit is committed.
  const server = await t.goBackDuring("AND action = 'edit'", NARROW, token)
  const answers = await answersUntil(server, untilCompleted(server), AS_ADMIN, [token])
  answers.delete('UNAVAILABLE')
  expect([...answers]).toEqual(['PERMISSION_DENIED'])
})
