import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type ServerProcess, serverSecrets, startServer } from '../support/processes/server-process.ts'
import { openBurst } from '../support/requests/burst.ts'
import { waitForLocks } from '../support/stores/locks.ts'
import { freshDatabase, freshRedis } from '../support/stores/stores.ts'

// Starting a server takes seconds, on a busy machine many.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 180_000 })

const SERVERS = 4
const REQUESTS_EACH = 250
const ROUNDS = 10

const LEND = 'mutation { lent: internalToken(service: "tap", scopes: ["read:all"]) { token key } }'
const SESSION =
  'mutation { made: createSessionToken(input: { username: "wren", scopes: ["read:all"] }) { token info { key } } }'

/** What comes of a request to a server that dies. */
const CUT_OFF = 'cut off'

interface Parent {
  readonly token: string
  readonly key: string
}

describe('four servers on the same stores', () => {
  const t = useServers()

  it('return one token to 1,000 equal requests at once at the first try, with one row and one history event: ten times over (rule 7)', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const parent = await t.session()
      const answers = await Promise.all(t.servers.map((server) => t.burst(server, parent)))
      expect(answers.flat()).toHaveLength(SERVERS * REQUESTS_EACH)
      await t.expectOneChild(parent, answers.flat())
    }
  })

  // Last, as each leaves one server less.
  it.each([
    ['makes the token', 0],
    ['waits for another to make it', 1],
  ])(
    'return one token to all other requests where the server that %s is killed (rule 7)',
    async (_, index) => {
      const parent = await t.session()
      const [maker, ...others] = t.servers
      const victim = t.servers[index]
      if (!maker || !victim) throw new Error('too few servers are left')
      const letGo = await t.stopInserts()
      const asked = new Map([[maker, t.burst(maker, parent)]])
      // It waits to insert; the others, for its lock.
      await t.waiting(1)
      for (const other of others) asked.set(other, t.burst(other, parent))
      await t.waiting(1 + others.length)
      await t.kill(victim)
      await letGo()

      expect(new Set(await asked.get(victim))).toEqual(new Set([CUT_OFF]))
      asked.delete(victim)
      const meanwhile = await Promise.all(asked.values())
      const afterwards = await Promise.all(t.servers.map((server) => t.burst(server, parent)))
      await t.expectOneChild(parent, [...meanwhile, ...afterwards].flat())
    },
  )
})

function useServers() {
  const secrets = serverSecrets()
  const undo: (() => unknown)[] = []
  const client = openBurst()
  let sql: pg.Pool
  let servers: ServerProcess[] = []

  beforeAll(async () => {
    const database = await freshDatabase()
    const { url: redisUrl } = await freshRedis()
    undo.push(database.drop)
    sql = new pg.Pool({ connectionString: database.url, max: 2 })
    sql.on('error', () => undefined)
    undo.push(() => sql.end())
    const env = { ...secrets, DATABASE_URL: database.url, REDIS_URL: redisUrl }
    servers = await Promise.all(Array.from({ length: SERVERS }, () => startServer(env)))
    undo.push(async () => {
      const unexpected = servers.flatMap(({ logLines }) => logLines.filter(({ level }) => level >= 50))
      await Promise.all(servers.map((server) => server.stop()))
      expect(unexpected).toEqual([])
    }, client.close)
    // The first request of all opens connections and loads code, which is not what is tested here.
    const { token } = await session()
    for (const { url } of servers) await client.ask(url, token, LEND)
  })
  afterAll(async () => {
    for (const step of undo.toReversed()) await step()
  })

  const session = async (): Promise<Parent> => {
    const answer = await client.ask(servers[0]?.url ?? '', secrets.BOOTSTRAP_TOKEN, SESSION)
    const { made } = (answer as { data: { made: { token: string; info: { key: string } } } }).data
    return { token: made.token, key: made.info.key }
  }
  const query = async (text: string, values?: unknown[]) => (await sql.query(text, values)).rows
  return {
    get servers(): readonly ServerProcess[] {
      return servers
    },
    session,
    /** Asks for the same all at once. */
    burst: (server: ServerProcess, { token }: Parent): Promise<unknown[]> =>
      Promise.all(
        Array.from({ length: REQUESTS_EACH }, () => client.ask(server.url, token, LEND).catch(() => CUT_OFF)),
      ),
    /** All of `answers` are the same token, and nothing else was ever made of `parent`. */
    expectOneChild: async (parent: Parent, answers: readonly unknown[]) => {
      const distinct = [...new Set(answers.map((answer) => JSON.stringify(answer)))]
      const rows = await query('SELECT child FROM subtoken WHERE parent = $1', [parent.key])
      const history = await query(
        "SELECT token FROM token_change_history WHERE parent = $1 AND action = 'create'",
        [parent.key],
      )
      const key = rows[0]?.child
      const lent = { token: expect.stringContaining(`gt-${key}.`), key }
      expect(distinct.map((answer) => JSON.parse(answer))).toEqual([{ data: { lent } }])
      expect({ rows, history }).toEqual({ rows: [{ child: key }], history: [{ token: key }] })
    },
    kill: async (server: ServerProcess) => {
      await server.kill()
      servers = servers.filter((other) => other !== server)
    },
    /** Stops every creation before it writes; answers with what lets them go on. */
    stopInserts: async () => {
      const blocker = await sql.connect()
      await blocker.query('BEGIN; LOCK TABLE token_change_history IN SHARE MODE')
      return async () => {
        await blocker.query('ROLLBACK')
        blocker.release()
      }
    },
    waiting: (count: number) =>
      waitForLocks({ sql: query as Parameters<typeof waitForLocks>[0]['sql'] }, count),
  }
}
