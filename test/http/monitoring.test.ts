import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import pg from 'pg'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Monitoring } from '../../src/http/monitoring.ts'
import { closeServer, createAdminServer, createServer } from '../../src/http/server.ts'
import { openPorthor } from '../support/porthor/porthor.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { send } from '../support/requests/http.ts'
import { type RedisProcess, startRedis } from '../support/stores/redis.ts'

const at = async (url: string, path: string) => {
  const { status, body } = await send(new URL(path, url).href)
  return [status, body]
}

const PATIENT = { timeout: 20_000 }

const READY = [200, '{"tokens":"ok","issuing":"ok"}\n']
const WITHOUT_TOKENS = [503, '{"tokens":"unavailable","issuing":"unavailable"}\n']
const WITHOUT_ISSUING = [200, '{"tokens":"ok","issuing":"unavailable"}\n']

const gaugesAt = async (url: string): Promise<readonly string[]> =>
  (await send(new URL('/metrics', url).href)).body
    .split('\n')
    .filter((line) => line.startsWith('porthor_available'))

/** Lets `server` listen for the length of the test. Returns its address. */
async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => closeServer(server))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

/** Makes the database of `h` refuse connections, and accept them again. */
async function openGate(databaseUrl: string) {
  const url = new URL(databaseUrl)
  const name = url.pathname.slice(1)
  url.pathname = '/postgres'
  const client = new pg.Client(url.href)
  await client.connect()
  onTestFinished(() => client.end())
  return {
    shut: async () => {
      await client.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`)
      await client.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [name])
    },
    open: () => client.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`),
  }
}

describe('readiness', () => {
  it('is lost with Redis and back with it, while liveness does not change', async () => {
    let redis: RedisProcess = await startRedis()
    onTestFinished(() => redis.stop())
    const h = await openPorthor({ store: 'redis', env: { REDIS_URL: redis.url } })
    onTestFinished(() => h.close())
    await expect.poll(() => at(h.url, '/readyz'), PATIENT).toEqual(READY)
    await redis.stop()
    await expect.poll(() => at(h.url, '/readyz'), PATIENT).toEqual(WITHOUT_TOKENS)
    expect(await at(h.url, '/livez')).toEqual([200, 'alive\n'])
    redis = await startRedis({ port: redis.port })
    await expect.poll(() => at(h.url, '/readyz'), PATIENT).toEqual(READY)
  })

  it('stays without PostgreSQL where records are in Redis, and reports that nothing can be issued, as the gauges do', async () => {
    const h = await openPorthor({ store: 'redis' })
    onTestFinished(() => h.close())
    const gate = await openGate(h.env.DATABASE_URL ?? '')
    await expect.poll(() => at(h.url, '/readyz'), PATIENT).toEqual(READY)
    await gate.shut()
    await expect.poll(() => at(h.url, '/readyz'), PATIENT).toEqual(WITHOUT_ISSUING)
    expect(await gaugesAt(h.url)).toEqual([
      'porthor_available{operation="tokens"} 1',
      'porthor_available{operation="issuing"} 0',
    ])
    await gate.open()
    await expect.poll(() => at(h.url, '/readyz'), PATIENT).toEqual(READY)
  })

  it('is lost with PostgreSQL where records are there too', async () => {
    const h = await openPorthor({ store: 'postgres' })
    onTestFinished(() => h.close())
    const gate = await openGate(h.env.DATABASE_URL ?? '')
    await expect.poll(() => at(h.url, '/readyz'), PATIENT).toEqual(READY)
    await gate.shut()
    await expect.poll(() => at(h.url, '/readyz'), PATIENT).toEqual(WITHOUT_TOKENS)
    await gate.open()
    await expect.poll(() => at(h.url, '/readyz'), PATIENT).toEqual(READY)
  })
})

describe('a server that is asked to stop', () => {
  const api = usePorthor('postgres')

  it('is not ready while it still listens and serves', async () => {
    const monitoring = new Monitoring(api.h.context)
    const url = await listen(createServer(api.h.context, {}, monitoring))
    expect(await at(url, '/readyz')).toEqual(READY)
    monitoring.stop()
    expect(await at(url, '/readyz')).toEqual([503, '{"tokens":"ok","issuing":"ok","stopping":true}\n'])
    expect(await at(url, '/graphql?query={__typename}')).toEqual([200, '{"data":{"__typename":"Query"}}'])
  })
})

describe('a port of its own for probes and metrics', () => {
  const api = usePorthor('postgres')

  it('takes them off the port of the API', async () => {
    const { context } = api.h
    const app = { ...context, config: { ...context.config, adminPort: 0 } }
    const monitoring = new Monitoring(app)
    const url = await listen(createServer(app, {}, monitoring))
    const adminUrl = await listen(createAdminServer(monitoring))
    for (const path of ['/livez', '/readyz', '/metrics']) {
      expect(await at(adminUrl, path)).toMatchObject([200, expect.any(String)])
      expect(await at(url, path)).toEqual([404, 'Not found. The API is at /graphql\n'])
    }
    expect(await at(adminUrl, '/graphql')).toEqual([
      404,
      'Not found. Here are /livez, /readyz and /metrics\n',
    ])
  })
})
