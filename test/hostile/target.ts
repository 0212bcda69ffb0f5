import { Agent } from 'node:http'
import { afterAll, beforeAll } from 'vitest'
import type { Environment } from '../../src/config/config.ts'
import { type ServerProcess, serverSecrets, startServer } from '../support/processes/server-process.ts'
import { type HttpAnswer, send } from '../support/requests/http.ts'
import { freshDatabase, freshRedis } from '../support/stores/stores.ts'

/** How long a response may take, in milliseconds: no request of anybody is answered later. */
const ANSWER_TIMEOUT_MS = 10_000

const REUSE = 'mutation { internalToken(service: "tap", scopes: ["read:all"]) { token source } }'

const SESSION =
  'mutation { createSessionToken(input: { username: "wren", scopes: ["user:token", "read:all"] }) { token } }'

/** Requests of one kind: those that were sent, and those that were answered as they must be, in time. */
export interface Count {
  sent: number
  answered: number
}

/** What the well-behaved client got while others attacked. */
export interface Service {
  readonly livez: Count
  readonly delegation: Count
}

/** A server in a process of its own that is attacked, and a client of it that wants nothing but its token. */
export interface Target {
  readonly server: ServerProcess
  /** `http://host:port`, without a path. */
  readonly origin: string
  readonly bootstrapToken: string
  /** Bearer string of a session with `user:token` and `read:all`. */
  readonly session: string
  /**
   * Has a client ask `/livez` and for a delegated token in turn, on a connection of its own, for as long as `attack`
   * takes and once more after it.
   */
  readonly served: (attack: () => Promise<unknown>) => Promise<Service>
}

/** One server for all tests of a file. */
export function useTarget(settings: Environment = {}): Target {
  let server: ServerProcess
  let bootstrapToken = ''
  let session = ''
  let drop: () => Promise<void>
  beforeAll(async () => {
    const database = await freshDatabase()
    drop = database.drop
    const secrets = serverSecrets()
    bootstrapToken = secrets.BOOTSTRAP_TOKEN
    const { url } = await freshRedis()
    server = await startServer({ ...secrets, DATABASE_URL: database.url, REDIS_URL: url, ...settings })
    const { data } = await server.ask(SESSION, { token: bootstrapToken })
    session = (data as { createSessionToken: { token: string } }).createSessionToken.token
  })
  afterAll(async () => {
    await server.stop()
    await drop()
  })
  return {
    get server() {
      return server
    },
    get origin() {
      return new URL(server.url).origin
    },
    get bootstrapToken() {
      return bootstrapToken
    },
    get session() {
      return session
    },
    served: (attack) => serve(new URL(server.url).origin, session, attack),
  }
}

/** As `Target.served`, of any server. */
export async function serve(
  origin: string,
  session: string,
  attack: () => Promise<unknown>,
): Promise<Service> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const service: Service = { livez: { sent: 0, answered: 0 }, delegation: { sent: 0, answered: 0 } }
  const round = async () => {
    await count(
      service.livez,
      send(`${origin}/livez`, { agent, ...inTime() }),
      ({ body }) => body === 'alive\n',
    )
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${session}` }
    const delegation = send(`${origin}/graphql`, { method: 'POST', headers, agent, ...inTime() }, [
      JSON.stringify({ query: REUSE }),
    ])
    await count(service.delegation, delegation, ({ body }) => body.includes('"source":'))
  }
  let isOver = false
  const client = (async () => {
    while (!isOver) await round()
    await round()
  })()
  try {
    await attack()
  } finally {
    isOver = true
    await client
    agent.destroy()
  }
  return service
}

const inTime = () => ({ signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) })

async function count(
  counted: Count,
  answer: Promise<HttpAnswer>,
  isRight: (answer: HttpAnswer) => boolean,
): Promise<void> {
  counted.sent += 1
  const ready = await answer.catch(() => undefined)
  if (ready?.status === 200 && isRight(ready)) counted.answered += 1
}
