import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { generateToken, parseToken } from '../../src/domain/token.ts'
import { type ServerProcess, serverSecrets, startServer } from '../support/processes/server-process.ts'
import { freshDatabase, freshRedis } from '../support/stores/stores.ts'

// Two servers are asked by 48 callers at once, on a busy machine for long.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 180_000 })

const USERNAME = 'mallory'
const SESSION = `mutation {
  made: createSessionToken(input: { username: "${USERNAME}", scopes: ["user:token", "read:all"] }) { token } }`
const NOTEBOOK = 'mutation { made: notebookToken { token } }'
const INTERNAL =
  'mutation ($service: String!) { made: internalToken(service: $service, scopes: ["user:token"]) { token } }'
const USER =
  'mutation ($name: String!) { made: createUserToken(input: { tokenName: $name, scopes: ["user:token"] }) { token } }'
const VIEWER = '{ viewer { token { key } } }'
const REVOKE = 'mutation ($key: ID!) { revokeToken(key: $key) { keys } }'
const REVOKE_ALL = 'mutation ($username: String!) { revokeTokens(filter: { username: $username }) { count } }'
const MODIFY = 'mutation ($key: ID!) { modifyToken(key: $key, input: { scopes: ["user:token"] }) { scopes } }'

const LOOPS = 48

/** Answers of a flood until the admin's call begins: by then it holds rows without a gap. */
const UNDER_WAY = 200

/** A loop asks at most so often. */
const MAX_ASKED = 3_000

const secrets = serverSecrets()
const undo: (() => Promise<unknown>)[] = []
let servers: readonly ServerProcess[] = []
let redis: Redis
let rounds = 0

beforeAll(async () => {
  const database = await freshDatabase()
  undo.push(database.drop)
  const { url } = await freshRedis()
  redis = new Redis(url)
  undo.push(async () => redis.disconnect())
  const start = async () => {
    const server = await startServer({ ...secrets, DATABASE_URL: database.url, REDIS_URL: url })
    undo.push(server.stop)
    return server
  }
  servers = await Promise.all([start(), start()])
})
afterAll(async () => {
  for (const step of undo.toReversed()) await step()
})

const server = (n: number) => servers[n % servers.length] as ServerProcess

const make = async (query: string, token: string, variables: Record<string, unknown> = {}) => {
  const { data, errors } = await server(0).ask(query, { token, variables })
  expect(errors).toEqual([])
  return (data as { made: { token: string } }).made.token
}

/**
 * Has 48 callers use a token at both servers, over and over, until it is refused: they revoke what is not there, which
 * holds the token's row, and delegate. Answers with the bearer strings that they were given.
 */
function flood(token: string) {
  const issued: string[] = []
  let answered = 0
  let isOver = false
  const one = async (_: unknown, loop: number): Promise<unknown> => {
    let last: unknown
    for (let n = 0; n < MAX_ASKED && !isOver; n += 1) {
      const isDelegating = loop % 4 === 0
      const { data, code } = isDelegating
        ? await server(loop + n).ask(INTERNAL, { token, variables: { service: `service-${loop}-${n}` } })
        : await server(loop + n).ask(REVOKE, { token, variables: { key: generateToken().key } })
      answered += 1
      const made = (data as { made?: { token: string } } | null | undefined)?.made
      if (made) issued.push(made.token)
      last = code
      if (code === 'UNAUTHENTICATED') break
    }
    return last
  }
  const loops = Promise.all(Array.from({ length: LOOPS }, one))
  /** Has the callers stop, where they were not refused. */
  const stop = async () => {
    isOver = true
    await loops
  }
  onTestFinished(stop)
  return {
    underWay: () => vi.waitFor(() => expect(answered).toBeGreaterThan(UNDER_WAY), { timeout: 30_000 }),
    stop,
    /** Resolves with what the callers were given when each of them was refused. */
    refused: async () => {
      expect(await loops).toEqual(Array.from({ length: LOOPS }, () => 'UNAUTHENTICATED'))
      return issued
    },
  }
}

const FLOODING: [string, (root: string) => Promise<string>][] = [
  ['that very token', async (root) => root],
  ['a child of it', (root) => make(NOTEBOOK, root)],
  ['a grandchild of it', async (root) => make(INTERNAL, await make(NOTEBOOK, root), { service: 'service' })],
]

const asAdmin = (query: string, variables: Record<string, unknown>) => {
  rounds += 1
  return server(rounds).ask(query, { token: secrets.BOOTSTRAP_TOKEN, variables })
}

describe.each(FLOODING)('while 48 loops over two servers use %s', (_who, actorOf) => {
  afterEach(async () => {
    await asAdmin(REVOKE_ALL, { username: USERNAME })
  })

  it.each([
    ['revokeToken', REVOKE, (token: string) => ({ key: parseToken(token).key })],
    ['revokeTokens', REVOKE_ALL, () => ({ username: USERNAME })],
  ])(
    '%s comes through, and nothing that was issued meanwhile is accepted',
    async (_what, query, toVariables) => {
      const root = await make(SESSION, secrets.BOOTSTRAP_TOKEN)
      const actor = await actorOf(root)
      const flooding = flood(actor)
      await flooding.underWay()
      const { errors } = await asAdmin(query, toVariables(root))
      expect(errors).toEqual([])
      const issued = await flooding.refused()
      expect(issued.length).toBeGreaterThan(0)
      for (const [n, token] of [root, actor, ...issued].entries()) {
        expect((await server(n).ask(VIEWER, { token })).code).toBe('UNAUTHENTICATED')
      }
      expect(await redis.keys('token:*')).toEqual([])
    },
  )

  it('modifyToken comes through', async () => {
    const root = await make(USER, await make(SESSION, secrets.BOOTSTRAP_TOKEN), { name: 'laptop' })
    const flooding = flood(await actorOf(root))
    await flooding.underWay()
    const { errors } = await asAdmin(MODIFY, { key: parseToken(root).key })
    await flooding.stop()
    expect(errors).toEqual([])
  })
})
