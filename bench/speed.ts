import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type pg from 'pg'
import type { Environment } from '../src/config/config.ts'
import { startRedis } from '../test/support/stores/redis.ts'
import { drawBars } from './chart.ts'
import { generateData } from './data.ts'
import { type HttpLoad, type HttpRequest, type HttpResult, loadHttp } from './http-load.ts'
import { type Budget, inOrder, inTurn, judge, type Measured, Rounds, ratio } from './rounds.ts'
import { newSecrets, type Program, type Server, startProgram, startServer } from './server.ts'
import { measureStarts } from './start-up.ts'
import { format, formatTable, machineFacts, report, say, withClient, withDatabase } from './support.ts'

/** What each claim about Porthor's speed rests on, side by side: `npm run bench`. */
const ROUNDS = Number(process.env.ROUNDS ?? 5)
const SECONDS = Number(process.env.SECONDS ?? 3)
const MANY_TOKENS = Number(process.env.TOKENS ?? 1e6)
const FEW_TOKENS = 1_000

/** Rows of the databases whose size does not matter: enough for the statistics of the planner. */
const SOME_TOKENS = 100_000

/** Parents and services that fill a token cache: 5,000 children. */
const PARENTS = 50
const SERVICES = 100

/** Connections of a server to PostgreSQL, and so of pgbench. */
const POSTGRES_CLIENTS = 20

const run = promisify(execFile)

const SESSION = `mutation ($name: String!) {
  created: createSessionToken(input: { username: $name, scopes: ["read:all"] }) { token } }`
const DELEGATE = `mutation ($service: String!, $scopes: [String!]!) {
  internalToken(service: $service, scopes: $scopes) { token expiresAt source } }`

const delegate = (token: string, service: string) => ({
  token,
  body: JSON.stringify({ query: DELEGATE, variables: { service, scopes: ['read:all'] } }),
})

async function makeSessions(server: Server, admin: string, count: number): Promise<string[]> {
  const sessions: string[] = []
  for (let user = 0; user < count; user += 1) {
    const { created } = await server.ask<{ created: { token: string } }>(SESSION, admin, {
      name: `user${user}`,
    })
    sessions.push(created.token)
  }
  return sessions
}

const load = (options: Omit<HttpLoad, 'until'>) => () => loadHttp({ ...options, until: { seconds: SECONDS } })

/** Transactions a second of the statements of a creation. */
async function pgbench(databaseUrl: string): Promise<HttpResult> {
  const script = fileURLToPath(new URL('creation.sql', import.meta.url))
  const { stdout } = await run('pgbench', [
    ...['-n', '-M', 'simple', '-c', String(POSTGRES_CLIENTS), '-j', '2', '-T', String(SECONDS)],
    ...['-f', script, databaseUrl],
  ])
  const rate = Number(/tps = ([\d.]+)/.exec(stdout)?.[1])
  const p50 = Number(/latency average = ([\d.]+)/.exec(stdout)?.[1])
  return { rate, p50, p99: Number.NaN }
}

const makePgbenchParents = (client: pg.Client) =>
  client.query(`
    INSERT INTO token (token, username, token_type, scopes, created, expires)
    SELECT 'pgbench-parent-' || lpad(i::text, 7, '0'), 'wren', 'session', 'read:all', now(), now() + interval '10 years'
    FROM generate_series(0, 199) AS i`)

/** Starts a server with thousands of cached tokens, on a database with the given rows. */
async function openFull(databaseUrl: string, redisUrl: string): Promise<Server & Program & FullCache> {
  const { server, secrets } = await openServer(databaseUrl, redisUrl)
  const sessions = await makeSessions(server, secrets.BOOTSTRAP_TOKEN, PARENTS)
  const requests = sessions.flatMap((token) =>
    Array.from({ length: SERVICES }, (_, index) => delegate(token, `service-${index}`)),
  )
  const next = inOrder(requests)
  await loadHttp({ url: server.url, connections: 10, requests: next, until: { amount: requests.length } })
  return { ...server, next }
}

interface FullCache {
  /** Returns the next request for a cached token. */
  readonly next: () => HttpRequest
}

async function openServer(databaseUrl: string, redisUrl: string) {
  const secrets = newSecrets()
  const env: Environment = { ...secrets, DATABASE_URL: databaseUrl, REDIS_URL: redisUrl }
  return { server: await startServer(env), secrets, env }
}

interface Programs {
  readonly echo: Program
  readonly yoga: Program
  /** Two processes of Porthor on the same stores. */
  readonly server: Server & Program
  readonly second: Server & Program
}

/** Measures the HTTP servers: the echo, Yoga with its defaults, and reuses by Porthor. */
function measureHttp({ echo, yoga, server, second }: Programs, session: string) {
  const reuse = [delegate(session, 'tap')]
  const body = [{ body: reuse[0]?.body ?? '' }]
  const typename = [{ body: JSON.stringify({ query: '{ __typename }' }) }]

  return inTurn(ROUNDS, {
    'echo, 1 connection': load({ url: echo.url, connections: 1, requests: body }),
    'echo, 32 connections': load({ url: echo.url, connections: 32, requests: body }),
    'echo, 256 connections': load({ url: echo.url, connections: 256, requests: body }),
    'Yoga defaults, { __typename }, 32 connections': load({
      url: yoga.url,
      connections: 32,
      requests: typename,
    }),
    'reuse, 1 connection': load({ url: server.url, connections: 1, requests: reuse }),
    'reuse, 32 connections': load({ url: server.url, connections: 32, requests: reuse }),
    'reuse, 256 connections': load({ url: server.url, connections: 256, requests: reuse }),
    'reuse, 32 connections, two processes': async () => {
      const halves = await Promise.all(
        [server, second].map((each) => load({ url: each.url, connections: 16, requests: reuse })()),
      )
      const [one, two] = halves
      if (!one || !two) throw new Error('expected two results')
      return { rate: one.rate + two.rate, p50: Math.max(one.p50, two.p50), p99: Math.max(one.p99, two.p99) }
    },
  })
}

/** Measures the creation of tokens, beside its bare statements. */
async function measureCreation(url: string, server: Program, parents: readonly string[]) {
  await withClient(url, makePgbenchParents)
  const nextParent = inOrder(parents)
  let created = 0
  return inTurn(ROUNDS, {
    'pgbench, the statements of a creation': () => pgbench(url),
    'creation, 32 connections': load({
      url: server.url,
      connections: 32,
      requests: () => delegate(nextParent(), `new-${created++}`),
    }),
  })
}

/** Measures reuses on a database with few and one with many tokens. */
async function measureSizes(): Promise<Record<'few' | 'many', Measured>> {
  let rows = {} as Record<'few' | 'many', Measured>
  await withDatabase(async (fewUrl) =>
    withDatabase(async (manyUrl) => {
      await withClient(fewUrl, (client) => generateData(client, { tokens: FEW_TOKENS, changes: FEW_TOKENS }))
      await withClient(manyUrl, (client) =>
        generateData(client, { tokens: MANY_TOKENS, changes: MANY_TOKENS }),
      )
      // Each has an encryption key of its own: a server refuses a Redis in which it can read no record.
      const [fewRedis, manyRedis] = [await startRedis(), await startRedis()]
      const few = await openFull(fewUrl, fewRedis.url)
      const many = await openFull(manyUrl, manyRedis.url)
      rows = await inTurn(ROUNDS, {
        few: load({ url: few.url, connections: 32, requests: few.next }),
        many: load({ url: many.url, connections: 32, requests: many.next }),
      })
      for (const program of [few, many, fewRedis, manyRedis]) await program.stop()
    }),
  )
  return rows
}

await withDatabase(async (url) => {
  await withClient(url, (client) => generateData(client, { tokens: SOME_TOKENS, changes: SOME_TOKENS }))
  const redis = await startRedis()
  const [echo, yoga] = [
    await startProgram(['--import', 'tsx', 'bench/echo.ts']),
    await startProgram(['--import', 'tsx', 'bench/yoga-defaults.ts']),
  ]
  const { server, secrets, env } = await openServer(url, redis.url)
  const second = await startServer(env)
  const [session = '', ...parents] = await makeSessions(server, secrets.BOOTSTRAP_TOKEN, 201)
  const http = await measureHttp({ echo, yoga, server, second }, session)
  const creation = await measureCreation(url, server, parents)
  for (const program of [echo, yoga, server, second]) await program.stop()

  const inProcess = await run(process.execPath, ['--expose-gc', '--import', 'tsx', 'bench/in-process.ts'], {
    env: { ...process.env, ...env, NODE_ENV: 'production' },
  })
  const { rates, bytesPerEntry } = JSON.parse(inProcess.stdout) as { rates: number[]; bytesPerEntry: number }
  const service = new Rounds()
  service.values.push(...rates)
  say('in-process', String(service))
  const starts = await measureStarts(env)

  const rows = await measureSizes()
  await redis.stop()

  const all = { ...http, ...creation }
  const echoRate = all['echo, 32 connections'].rate.median
  const rateOf = (name: keyof typeof all) => all[name].rate.median
  const table = [
    ['case', 'per second: median (minimum to maximum)', 'median ms', 'p99 ms', 'of the echo'],
    ...Object.entries(all).map(([name, { rate, p50, p99 }]) => [
      name,
      String(rate),
      format(p50.median),
      Number.isNaN(p99.median) ? '' : format(p99.median),
      ratio(rate.median / echoRate),
    ]),
    ['reuse in the process, through the service', String(service), '', '', ''],
  ]
  const reuseRate = rateOf('reuse, 32 connections')
  const budgets: readonly Budget[] = [
    { name: 'reuse at 32 connections, of the echo', value: reuseRate / echoRate, min: 0.3 },
    {
      name: "reuse at 32 connections, of Yoga's defaults",
      value: reuseRate / rateOf('Yoga defaults, { __typename }, 32 connections'),
      min: 3,
    },
    {
      name: 'p99 of a reuse at 32 connections, of that of the echo',
      value: all['reuse, 32 connections'].p99.median / all['echo, 32 connections'].p99.median,
      max: 4,
    },
    { name: 'reuse in the process, per second', value: service.median, min: 500_000 },
    {
      name: 'creation, of pgbench on the same statements',
      value: rateOf('creation, 32 connections') / rateOf('pgbench, the statements of a creation'),
      min: 0.25,
    },
    {
      name: `reuse of 5,000 with ${format(MANY_TOKENS)} tokens in the database, of that with ${format(FEW_TOKENS)}`,
      value: rows.many.rate.median / rows.few.rate.median,
      min: 0.9,
    },
  ]
  const chart = 'speed.svg'
  await writeFile(
    new URL(`../docs/benchmarks/${chart}`, import.meta.url),
    drawBars(
      'Responses per second at 32 connections',
      Object.entries(all)
        .filter(([name]) => !/\b(1|256) connection/.test(name))
        .map(([label, { rate }]) => ({ label, value: rate.median, text: format(rate.median) })),
    ),
  )
  const { stdout: commit } = await run('git', ['rev-parse', '--short', 'HEAD'])
  await report(
    'speed',
    `# Speed

\`npm run bench\` measured this at commit ${commit.trim()}: ${ROUNDS} rounds of ${SECONDS} s for each case, in alternation, after a warm-up. Server, load
(autocannon), Redis and PostgreSQL share the machine, so that only the ratios of one run are meaningful.

- The *echo* is a bare \`node:http\` server that sends the body back.
- *Reuse* is an \`internalToken\` mutation whose token exists, on Redis with the client-side cache. *Creation* is one whose token
  does not exist.
- *Of the echo* is the rate divided by that of the echo at 32 connections.

${await withClient(url, machineFacts)}

${formatTable([['budget', 'bound', 'measured', 'kept'], ...budgets.map(judge)])}

![Responses per second at 32 connections](${chart})

${formatTable(table)}

- A cached token takes ${format(bytesPerEntry)} bytes of heap: its entry in the token cache, and its record in the client-side cache.
- Time from the start of the process until it listens, in ms: ${starts}.
- Reuse of 5,000 tokens, one after the other, 32 connections: ${rows.few.rate} per second with ${format(FEW_TOKENS)} tokens in the database, ${rows.many.rate} with ${format(MANY_TOKENS)}.
- pgbench runs simple statements on ${POSTGRES_CLIENTS} connections, as many as a Porthor process has.
`,
  )
})
