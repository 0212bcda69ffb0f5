import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { Agent } from 'node:http'
import { promisify } from 'node:util'
import pg from 'pg'
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { Environment } from '../../src/config/config.ts'
import { type ServerProcess, serverSecrets, startServer } from '../support/processes/server-process.ts'
import { type HttpAnswer, send } from '../support/requests/http.ts'
import { openRaw } from '../support/requests/raw-http.ts'
import { freshDatabase, freshRedis } from '../support/stores/stores.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

const PATIENT = { timeout: 30_000, interval: 100 }

/** The fewest that a server starts with, and what Linux gives by default. */
const [FEWEST, USUAL] = [64, 1_024]

/** Enough for three ports, and few enough to be taken. */
const SEVERAL_PORTS = 300

const SESSION =
  'mutation { made: createSessionToken(input: { username: "wren", scopes: ["read:all"] }) { token } }'
const DELEGATE = 'mutation { lent: internalToken(service: "tap", scopes: ["read:all"]) { source } }'

let env: Environment
let admin: string

describe.each(['redis', 'postgres'])('a server with its tokens in %s', (store) => {
  beforeEach(async () => {
    const secrets = serverSecrets()
    const database = await freshDatabase()
    admin = secrets.BOOTSTRAP_TOKEN
    env = {
      ...secrets,
      DATABASE_URL: database.url,
      TOKEN_STORE: store,
      ...(store === 'redis' && { REDIS_URL: (await freshRedis()).url }),
    }
    return () => database.drop()
  })

  it('is UNAVAILABLE while no descriptor is left, from its first request on, and works again once there is one', async () => {
    const server = await start(USUAL)
    const ask = askOverOneConnection(server)
    expect(await ask('/livez')).toMatchObject({ status: 200 })
    const codes = new Set<unknown>()
    await vi.waitFor(async () => {
      await dropSessions()
      await limitDescriptors(server, await findFirstUnused(server))
      const { status, body } = await ask('/graphql', SESSION)
      codes.add(JSON.parse(body).errors?.[0]?.extensions.code)
      expect(status).toBe(503)
    }, PATIENT)
    codes.delete(undefined)
    expect([...codes]).toEqual(['UNAVAILABLE'])
    expect(await ask('/readyz')).toMatchObject({ status: 503 })
    expect(await ask('/metrics')).toMatchObject({ status: 200 })
    expect(await ask('/livez')).toMatchObject({ status: 200 })
    await limitDescriptors(server, USUAL)
    await expectAllWorks(server)
  })

  it('with the fewest descriptors serves, or refuses as UNAVAILABLE, while strangers take all connections', async () => {
    const server = await start(FEWEST)
    const idle = await Promise.all(Array.from({ length: FEWEST }, () => openRaw(server.url)))
    const codes = new Set<unknown>()
    const create = async () => {
      // One that made room for another has no answer.
      const answer = await server.ask(SESSION, { token: admin }).catch(() => undefined)
      if (answer?.code !== undefined) codes.add(answer.code)
    }
    for (let round = 0; round < 5; round += 1) await Promise.all(Array.from({ length: FEWEST }, create))
    for (const { socket } of idle) socket.destroy()
    expect([[], ['UNAVAILABLE']]).toContainEqual([...codes])
    await expectAllWorks(server)
  })
})

it('a server serves while strangers hold all connections to each of its three ports', async () => {
  const database = await freshDatabase()
  onTestFinished(database.drop)
  const secrets = serverSecrets()
  admin = secrets.BOOTSTRAP_TOKEN
  env = {
    ...secrets,
    DATABASE_URL: database.url,
    AUTH_PORT: '0',
    AUTH_POLICIES: '{"any":{}}',
    ADMIN_PORT: '0',
  }
  const server = await start(SEVERAL_PORTS)
  const listening = server.logLines.find(({ msg }) => msg === 'listening')
  const [authUrl, adminUrl] = [String(listening?.authUrl), String(listening?.adminUrl)]
  for (const url of [server.url, authUrl, adminUrl]) {
    const idle = await Promise.all(Array.from({ length: SEVERAL_PORTS }, () => openRaw(url)))
    onTestFinished(() => idle.forEach(({ socket }) => void socket.destroy()))
  }
  expect(await server.ask(SESSION, { token: admin })).toMatchObject({ errors: [] })
  expect(await send(new URL('/auth/any', authUrl).href)).toMatchObject({ status: 401 })
  expect(await send(new URL('/readyz', adminUrl).href)).toMatchObject({ status: 200 })
})

async function start(descriptors: number): Promise<ServerProcess> {
  const server = await startServer(env, { descriptors })
  onTestFinished(async () => void (await server.stop()))
  return server
}

/** Asks for `path`, by POST where there is a query, over one connection that is kept. */
function askOverOneConnection({ url }: ServerProcess): (path: string, query?: string) => Promise<HttpAnswer> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  onTestFinished(() => agent.destroy())
  return (path, query) => {
    const target = new URL(path, url).href
    if (query === undefined) return send(target, { agent })
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${admin}` }
    return send(target, { agent, method: 'POST', headers }, [JSON.stringify({ query })])
  }
}

/** Without a connection to PostgreSQL that is kept, a request needs a descriptor. */
async function dropSessions(): Promise<void> {
  const client = new pg.Client(env.DATABASE_URL)
  await client.connect()
  await client.query(`SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()`)
  await client.end()
}

async function findFirstUnused({ pid }: ServerProcess): Promise<number> {
  const used = new Set((await readdir(`/proc/${pid}/fd`)).map(Number))
  let number = 0
  while (used.has(number)) number += 1
  return number
}

const limitDescriptors = ({ pid }: ServerProcess, limit: number) =>
  promisify(execFile)('prlimit', ['--pid', String(pid), `--nofile=${limit}:${USUAL}`])

async function expectAllWorks(server: ServerProcess): Promise<void> {
  const make = async () => {
    const made = await server.ask(SESSION, { token: admin })
    expect(made.errors).toEqual([])
    return (made.data as { made: { token: string } }).made.token
  }
  const token = await vi.waitFor(make, PATIENT)
  await vi.waitFor(
    async () =>
      expect(await server.ask(DELEGATE, { token })).toMatchObject({ data: { lent: { source: 'NEW' } } }),
    PATIENT,
  )
  expect(await server.ask(DELEGATE, { token })).toMatchObject({ data: { lent: { source: 'CACHE' } } })
  await vi.waitFor(
    async () => expect((await send(new URL('/readyz', server.url).href)).status).toBe(200),
    PATIENT,
  )
}
