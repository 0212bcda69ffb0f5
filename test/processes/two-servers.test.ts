import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { StoreKind } from '../support/porthor/porthor.ts'
import { type ServerProcess, serverSecrets, startServer } from '../support/processes/server-process.ts'
import { waitForLocks } from '../support/stores/locks.ts'
import { freshDatabase, freshRedis } from '../support/stores/stores.ts'

// Starting a server takes seconds, on a busy machine many.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 180_000 })

const TAP = 'mutation { delegated: internalToken(service: "tap", scopes: ["read:all"]) { token key source } }'
const NOTEBOOK = 'mutation { delegated: notebookToken { token key source } }'
const SESSION =
  'mutation ($scopes: [String!]!) { createSessionToken(input: { username: "wren", scopes: $scopes }) { token info { key } } }'

interface Delegated {
  readonly token: string
  readonly key: string
  readonly source: string
}

/**
 * Asks as clients should: again, while the answer is that it can be repeated. So many requests at once
 * may take longer to get a connection on a busy machine than a request waits for one.
 */
async function delegate(
  server: ServerProcess,
  query: string,
  token: string,
  repeats = 5,
): Promise<Delegated> {
  const { data, errors, code } = await server.ask(query, { token })
  if (code === 'UNAVAILABLE' && repeats > 0) return delegate(server, query, token, repeats - 1)
  expect(errors).toEqual([])
  return (data as { delegated: Delegated }).delegated
}

describe.each(['redis', 'postgres'] as const)('two servers on the same PostgreSQL, tokens in %s', (store) => {
  const t = useTwoServers(store)

  it.each([
    ['internal', TAP],
    ['notebook', NOTEBOOK],
  ])(
    'issue one token, with one row and one history event, for 200 equal requests at once on each: %s (rule 7)',
    async (_, query) => {
      const { token, children } = await t.session()
      const requests = t.servers.flatMap((server) =>
        Array.from({ length: 200 }, () => delegate(server, query, token)),
      )
      const answers = await Promise.all(requests)
      expect(new Set(answers.map((answer) => answer.token)).size).toBe(1)
      const [answer] = answers
      expect(await children()).toEqual({ rows: [answer?.key], history: [answer?.key] })
    },
  )

  it('write one row for 200 equal requests at once on one of them (rule 7)', async () => {
    const { token, children } = await t.session()
    const [server] = t.servers
    const answers = await Promise.all(Array.from({ length: 200 }, () => delegate(server, TAP, token)))
    expect(new Set(answers.map((answer) => answer.token)).size).toBe(1)
    expect((await children()).history).toHaveLength(1)
  })

  it('both clear their token caches when one of them gets clearTokenCache', async () => {
    const { token } = await t.session(['admin:token', 'read:all'])
    const [one, other] = t.servers
    const { key } = await delegate(other, TAP, token)
    expect(await delegate(other, TAP, token)).toMatchObject({ key, source: 'CACHE' })
    await t.listening()
    const cleared = await one.ask('mutation { clearTokenCache { internal notebook } }', { token })
    expect(cleared.errors).toEqual([])
    await vi.waitFor(
      async () => expect(await delegate(other, TAP, token)).toMatchObject({ key, source: 'DATABASE' }),
      { timeout: 5_000, interval: 20 },
    )
  })

  // Last, as it leaves one server only.
  it('issue the token where the one that holds the lock is killed', async () => {
    const { token, children } = await t.session()
    const blocker = await t.connect()
    await blocker.query('BEGIN; LOCK TABLE token_change_history IN SHARE MODE')
    const [holder, other] = t.servers
    const lost = holder.ask(TAP, { token }).then(
      () => 'answered',
      () => 'cut off',
    )
    await t.waiting(1)
    const asked = delegate(other, TAP, token, 0)
    await t.waiting(2)
    await holder.kill()
    expect(await lost).toBe('cut off')
    // Only now does the database find out that nobody is there to hear of the row it was to write.
    await blocker.query('ROLLBACK')
    const { key, source } = await asked
    expect(source).toBe('NEW')
    expect(await children()).toEqual({ rows: [key], history: [key] })
  })
})

function useTwoServers(store: StoreKind) {
  let database: Awaited<ReturnType<typeof freshDatabase>>
  let redisUrl: string
  let sql: pg.Pool
  let servers: [ServerProcess, ServerProcess] | undefined
  const running = () => {
    if (!servers) throw new Error('the servers run inside of tests only')
    return servers
  }
  const secrets = serverSecrets()
  const start = () =>
    startServer({
      ...secrets,
      DATABASE_URL: database.url,
      TOKEN_STORE: store,
      ...(store === 'redis' && { REDIS_URL: redisUrl }),
    })

  beforeAll(async () => {
    database = await freshDatabase()
    redisUrl = (await freshRedis()).url
    sql = new pg.Pool({ connectionString: database.url, max: 2 })
    sql.on('error', () => undefined)
    servers = await Promise.all([start(), start()])
    // The first request of all opens connections and loads code, which is not what is tested here.
    const { token } = await session()
    for (const server of servers) await delegate(server, NOTEBOOK, token)
  })
  afterAll(async () => {
    for (const server of servers ?? []) {
      const unexpected = server.logLines.filter(({ level }) => level >= 50)
      await server.stop()
      expect(unexpected).toEqual([])
    }
    await sql.end()
    await database.drop()
  })

  const session = async (scopes = ['read:all']) => {
    const { data } = await running()[0].ask(SESSION, {
      token: secrets.BOOTSTRAP_TOKEN,
      variables: { scopes },
    })
    const { token, info } = (data as { createSessionToken: { token: string; info: { key: string } } })
      .createSessionToken
    const children = async () => {
      const rows = await query('SELECT child FROM subtoken WHERE parent = $1', [info.key])
      const history = await query('SELECT token FROM token_change_history WHERE parent = $1', [info.key])
      return { rows: rows.map(({ child }) => child), history: history.map((row) => row.token) }
    }
    return { token, children }
  }
  const query = async (text: string, values?: unknown[]) => (await sql.query(text, values)).rows
  return {
    get servers() {
      return running()
    },
    session,
    connect: async () => {
      const client = new pg.Client(database.url)
      client.on('error', () => undefined)
      await client.connect()
      onTestFinished(() => client.end())
      return client
    },
    waiting: (count: number) => waitForLocks({ sql: query }, count),
    /** Resolves when both listen for each other. */
    listening: () =>
      vi.waitFor(async () => {
        const listeners =
          store === 'redis'
            ? await subscribers(redisUrl)
            : (
                await query(
                  `SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'`,
                )
              ).length
        expect(listeners).toBe(2)
      }),
  }
}

async function subscribers(redisUrl: string): Promise<number> {
  const redis = new Redis(redisUrl)
  try {
    const [, count] = (await redis.pubsub('NUMSUB', 'porthor_clear_token_cache')) as [string, number]
    return Number(count)
  } finally {
    redis.disconnect()
  }
}
