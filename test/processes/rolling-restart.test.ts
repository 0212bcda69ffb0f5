import { Agent } from 'node:http'
import { describe, expect, it, onTestFinished } from 'vitest'
import { GATEWAYS, startGateway } from '../support/gateways/gateway-process.ts'
import { openProtectedService } from '../support/gateways/protected-service.ts'
import { type ServerProcess, serverSecrets, startServer } from '../support/processes/server-process.ts'
import { askUntilAvailable, fieldOf } from '../support/requests/graphql.ts'
import { send } from '../support/requests/http.ts'
import { findFreePort } from '../support/stores/redis.ts'
import { freshDatabase, freshRedis } from '../support/stores/stores.ts'

const SESSION = `mutation { created: createSessionToken(input: { username: "wren", scopes: ["read:all"] }) { token } }`

/** Users that send one request after the other. */
const USERS = 8

/** Sends requests until `end`; returns the statuses of all responses. Rejects where there was none. */
function keepSending(url: string, token: string) {
  const agent = new Agent({ keepAlive: true })
  const statuses: number[] = []
  let isEnding = false
  const user = async () => {
    while (!isEnding) {
      const { status } = await send(url, { agent, headers: { Authorization: `Bearer ${token}` } })
      statuses.push(status)
    }
  }
  const users = Promise.all(Array.from({ length: USERS }, user))
  users.catch(() => undefined)
  return {
    statuses,
    end: async () => {
      isEnding = true
      await users
      agent.destroy()
    },
  }
}

describe.each(GATEWAYS)('behind %s', (name) => {
  it('no request is lost while two Porthors restart in turn', async () => {
    const database = await freshDatabase()
    onTestFinished(database.drop)
    const { url: REDIS_URL } = await freshRedis()
    const env = {
      ...serverSecrets(),
      DATABASE_URL: database.url,
      REDIS_URL,
      AUTH_POLICIES: JSON.stringify({ tap: { delegate: { service: 'tap', scopes: ['read:all'] } } }),
    }
    const ports = [await findFreePort(), await findFreePort()] as const
    const start = (port: number) => startServer({ ...env, AUTH_PORT: String(port) })
    const servers: ServerProcess[] = await Promise.all(ports.map(start))
    onTestFinished(async () => {
      await Promise.all(servers.map((server) => server.stop()))
    })
    const service = await openProtectedService()
    onTestFinished(service.close)
    const gateway = await startGateway(name, { porthor: ports, service: service.port })
    onTestFinished(gateway.stop)
    const created = await askUntilAvailable(async () => {
      const answer = await servers[0]?.ask(SESSION, { token: env.BOOTSTRAP_TOKEN })
      return answer ?? expect.fail('there is no server')
    })
    const { token } = fieldOf<{ token: string }>(created, 'created')

    const sending = keepSending(gateway.url, token)
    for (const [index, port] of ports.entries()) {
      expect(await servers[index]?.stop()).toBe(0)
      servers[index] = await start(port)
    }
    await sending.end()
    expect(sending.statuses.length).toBeGreaterThan(100)
    expect(sending.statuses.filter((status) => status !== 200)).toEqual([])
  }, 120_000)
})
