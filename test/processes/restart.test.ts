import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Environment } from '../../src/config/config.ts'
import { generateFernetKey } from '../../src/lib/fernet.ts'
import { type ServerProcess, serverSecrets, startServer } from '../support/processes/server-process.ts'
import { freshDatabase, freshRedis } from '../support/stores/stores.ts'
import { openTcpProxy } from '../support/stores/tcp-proxy.ts'

// Starting a server takes seconds, on a busy machine many.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 180_000 })

const SESSION =
  'mutation { createSessionToken(input: { username: "wren", scopes: ["user:token", "read:all"] }) { token } }'
const VIEWER = '{ viewer { token { key username service expiresAt } } }'
const internalFor = (service: string) =>
  `mutation { internalToken(service: "${service}", scopes: ["read:all"]) { token key source } }`

interface Answer {
  readonly token: string
  readonly key: string
  readonly source: string
}

const ask = async (server: ServerProcess, query: string, token: string): Promise<Answer> => {
  const { data, errors } = await server.ask(query, { token })
  expect(errors).toEqual([])
  return Object.values(data ?? {})[0] as Answer
}

describe('after a crash between the store and the commit, and a restart with a new SESSION_SECRET before the old one', () => {
  const undo: (() => Promise<unknown>)[] = []
  const secrets = serverSecrets()
  let settings: Environment
  let server: ServerProcess
  let redis: Redis
  let sql: pg.Client
  let session: string
  let child: Answer
  let seen: readonly Answer[]
  /** The key under which the crash left an entry. */
  let stray: string

  const start = async (env: Environment): Promise<void> => {
    server = await startServer(env)
    undo.push(server.stop)
  }

  beforeAll(async () => {
    const database = await freshDatabase()
    undo.push(database.drop)
    sql = new pg.Client(database.url)
    await sql.connect()
    undo.push(() => sql.end())
    const { url: redisUrl } = await freshRedis()
    redis = new Redis(redisUrl)
    undo.push(async () => redis.disconnect())
    const proxy = await openTcpProxy(database.url)
    undo.push(proxy.close)
    settings = { ...secrets, DATABASE_URL: database.url, REDIS_URL: redisUrl }

    await start({ ...settings, DATABASE_URL: proxy.through(database.url) })
    session = (await ask(server, SESSION, secrets.BOOTSTRAP_TOKEN)).token
    child = await ask(server, internalFor('tap'), session)
    seen = [await ask(server, VIEWER, session), await ask(server, VIEWER, child.token)]

    const known = await redis.keys('token:*')
    const atCommit = proxy.stopAt('COMMIT', 'hold')
    const lost = server.ask(internalFor('portal'), { token: session }).catch(() => 'cut off')
    await atCommit
    await server.kill()
    expect(await lost).toBe('cut off')
    stray = (await redis.keys('token:*')).find((key) => !known.includes(key)) ?? ''

    await start({ ...settings, SESSION_SECRET: `${generateFernetKey()},${secrets.SESSION_SECRET}` })
  })
  afterAll(async () => {
    for (const step of undo.toReversed()) await step()
  })

  it('sessions and delegated tokens are still accepted', async () => {
    expect([await ask(server, VIEWER, session), await ask(server, VIEWER, child.token)]).toEqual(seen)
  })

  it('a delegated token is reused', async () => {
    expect(await ask(server, internalFor('tap'), session)).toEqual({ ...child, source: 'DATABASE' })
  })

  it('the record that the crash left has no row, expires, and is never returned', async () => {
    expect(await redis.ttl(stray)).toBeGreaterThan(0)
    const { key, source } = await ask(server, internalFor('portal'), session)
    expect(source).toBe('NEW')
    expect(`token:${key}`).not.toBe(stray)
    const { rows } = await sql.query("SELECT token FROM token WHERE service = 'portal'")
    expect(rows).toEqual([{ token: key }])
  })

  it('a server without the old SESSION_SECRET does not start, since it can decrypt no record', async () => {
    const foreign = startServer({ ...settings, SESSION_SECRET: generateFernetKey() })
    await expect(foreign).rejects.toThrow(
      /No record of the token store can be read with a key of SESSION_SECRET/,
    )
    expect(server.logLines.filter(({ level }) => Number(level) >= 50)).toEqual([])
  })
})
