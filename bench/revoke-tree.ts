import { setTimeout as delay } from 'node:timers/promises'
import { parseToken, type TokenData } from '../src/domain/token.ts'
import { startRedis } from '../test/support/stores/redis.ts'
import { FOUR_LEVELS, growTree, ONE_LEVEL, queryOf } from '../test/support/tokens/large-tree.ts'
import { generateData } from './data.ts'
import { CLIENTS, meanwhile, PAUSE_MS } from './load.ts'
import { newSecrets, openStores, type Server, startServer } from './server.ts'
import {
  format,
  formatTable,
  machineFacts,
  percentile,
  report,
  say,
  withClient,
  withDatabase,
} from './support.ts'

/** Measures the revocation of 10,000 tokens, and the reuse of other tokens at the same time. */
const OTHERS = { tokens: 100_000, changes: 500_000 }
const REPEATS = 5
const IDLE_MS = 5_000

const SESSION =
  'mutation ($name: String!) { made: createSessionToken(input: { username: $name, scopes: ["read:all"] }) { token } }'
const USER = `mutation ($name: String!) {
  made: createUserToken(input: { username: $name, tokenName: "tree", scopes: ["read:all"] }) { token } }`
const REVOKE = 'mutation ($key: ID!) { revokeToken(key: $key) { keys } }'
const REVOKE_ALL = 'mutation ($name: String!) { revokeTokens(filter: { username: $name }) { count } }'

interface Work {
  readonly name: string
  readonly levels: readonly number[]
  readonly revoke: (server: Server, admin: string, root: TokenData) => Promise<unknown>
}

const WORK: readonly Work[] = [
  {
    name: 'revokeToken, four levels deep',
    levels: FOUR_LEVELS,
    revoke: (server, admin, { token: { key } }) => server.ask(REVOKE, admin, { key }),
  },
  {
    name: 'revokeTokens, by username',
    levels: ONE_LEVEL,
    revoke: (server, admin, { username: name }) => server.ask(REVOKE_ALL, admin, { name }),
  },
]

async function measure(store: string, databaseUrl: string, redisUrl: string): Promise<string[][]> {
  const secrets = newSecrets()
  const admin = secrets.BOOTSTRAP_TOKEN
  const env = { ...secrets, DATABASE_URL: databaseUrl, TOKEN_STORE: store, REDIS_URL: redisUrl }
  const server = await startServer(env)
  const { pool, tokens, close } = openStores(env)
  try {
    const make = async (query: string, name: string) =>
      (await server.ask<{ made: { token: string } }>(query, admin, { name })).made.token
    const sessions: string[] = []
    for (let client = 0; client < CLIENTS; client += 1) sessions.push(await make(SESSION, `client${client}`))
    await meanwhile(server, sessions, () => delay(IDLE_MS / 2))
    const idle = (await meanwhile(server, sessions, () => delay(IDLE_MS))).latencies

    const rows: string[][] = []
    for (const { name, levels, revoke } of WORK) {
      const times: number[] = []
      const busy: number[] = []
      for (let repeat = 0; repeat < REPEATS; repeat += 1) {
        const root = await tokens.find(parseToken(await make(USER, 'wren')).key)
        if (!root) throw new Error('the root is not in the token store')
        const tree = await growTree({ query: queryOf(pool), tokens }, root, levels)
        await pool.query('ANALYZE token, subtoken')
        const { ms, latencies } = await meanwhile(server, sessions, () => revoke(server, admin, root))
        const { rows: left } = await pool.query('SELECT FROM token WHERE username = $1', [root.username])
        const records = await tokens.inspect(tree.map(({ token }) => token.key))
        if (left.length > 0 || records.size > 0)
          throw new Error(`${left.length} rows, ${records.size} records left`)
        times.push(ms)
        busy.push(...latencies)
        say(store, name, format(ms), 'ms', busy.length, 'reuses')
      }
      const [p50, p99] = [percentile(idle, 0.5), percentile(idle, 0.99)]
      const [busy50, busy99] = [percentile(busy, 0.5), percentile(busy, 0.99)]
      const figures = [
        percentile(times, 0.5),
        p50,
        p99,
        busy50,
        busy99,
        busy50 / p50,
        busy99 / p99,
        Math.max(...busy),
      ]
      rows.push([store, name, ...figures.map(format)])
    }
    return rows
  } finally {
    await close()
    await server.stop()
  }
}

await withDatabase(async (url) => {
  const redis = await startRedis()
  const facts = await withClient(url, async (client) => {
    await generateData(client, OTHERS)
    return machineFacts(client)
  })
  const table = [
    [
      'token store',
      'work',
      'ms',
      'idle p50',
      'idle p99',
      'meanwhile p50',
      'meanwhile p99',
      'ratio p50',
      'ratio p99',
      'slowest',
    ],
  ]
  for (const store of ['redis', 'postgres']) table.push(...(await measure(store, url, redis.url)))
  await redis.stop()
  await report(
    'revocation',
    `# Revocation of 10,000 tokens

Duration of one call over HTTP that revokes 10,000 tokens, as the median of ${REPEATS}, beside ${format(OTHERS.tokens)} other tokens. And the latency of
requests that reuse a token in the meantime (${CLIENTS} clients, ${PAUSE_MS} ms between response and request), compared with the same clients
on an idle server. Times are in milliseconds. One server, one PostgreSQL and one client share the cores. Repeat it with
\`node --import tsx bench/revoke-tree.ts\`.

${facts}

${formatTable(table)}
`,
  )
})
