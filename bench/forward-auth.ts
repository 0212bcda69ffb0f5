import { startRedis } from '../test/support/stores/redis.ts'
import { loadHttp } from './http-load.ts'
import { type Budget, inTurn, judge, ratio } from './rounds.ts'
import { newSecrets, startProgram, startServer } from './server.ts'
import { format, formatTable, machineFacts, report, withClient, withDatabase } from './support.ts'

/** Measures requests of gateways beside a bare server that sends the same headers: `npx tsx bench/forward-auth.ts`. */
const ROUNDS = Number(process.env.ROUNDS ?? 5)
const SECONDS = Number(process.env.SECONDS ?? 3)

const CONNECTIONS = 32

const SESSION = `mutation {
  created: createSessionToken(input: { username: "wren", scopes: ["read:all"] }) { token } }`

const POLICIES = {
  tap: { require: ['read:all'], delegate: { service: 'tap', scopes: ['read:all'] } },
  check: { require: ['read:all'] },
}

/** Headers that every Node server adds by itself. */
const OWN_HEADERS = new Set(['date', 'connection', 'keep-alive'])

/** Returns the headers of a response, as the bare server is to send them. */
async function headersOf(url: string, authorization: string): Promise<string[]> {
  const response = await fetch(url, { headers: { Authorization: authorization } })
  if (response.status !== 200) throw new Error(`the request was refused with ${response.status}`)
  return [...response.headers].filter(([name]) => !OWN_HEADERS.has(name)).flat()
}

await withDatabase(async (databaseUrl) => {
  const redis = await startRedis()
  const secrets = newSecrets()
  const server = await startServer({
    ...secrets,
    DATABASE_URL: databaseUrl,
    REDIS_URL: redis.url,
    AUTH_PORT: '0',
    AUTH_POLICIES: JSON.stringify(POLICIES),
    INGRESS_AUTH: 'true',
  })
  const { created } = await server.ask<{ created: { token: string } }>(SESSION, secrets.BOOTSTRAP_TOKEN)
  const authorization = `Bearer ${created.token}`
  const target = (path: string) => new URL(path, server.authUrl).href
  const ingress = target('/ingress/auth?scope=read:all&service=tap&delegate_to=tap&delegate_scope=read:all')
  const headers = {
    Authorization: authorization,
    'X-Original-URL': 'https://example.org/tap',
    'X-Original-Method': 'GET',
  }
  // Issues the token.
  await headersOf(target('/auth/tap'), authorization)
  const echo = await startProgram(['--import', 'tsx', 'bench/gateway-echo.ts'], {
    HEADERS: JSON.stringify(await headersOf(target('/auth/tap'), authorization)),
  })
  const load = (url: string) => () =>
    loadHttp({
      url,
      connections: CONNECTIONS,
      requests: [{ method: 'GET', headers }],
      until: { seconds: SECONDS },
    })
  const all = await inTurn(ROUNDS, {
    'bare server, the same headers': load(echo.url),
    'a policy that delegates': load(target('/auth/tap')),
    'a policy that checks': load(target('/auth/check')),
    '/ingress/auth that delegates': load(ingress),
  })
  const facts = await withClient(databaseUrl, machineFacts)
  for (const program of [server, echo, redis]) await program.stop()

  const bare = all['bare server, the same headers'].rate.median
  const budgets: readonly Budget[] = [
    {
      name: 'a policy that delegates, of the bare server',
      value: all['a policy that delegates'].rate.median / bare,
      min: 0.6,
    },
  ]
  await report(
    'forward-auth',
    `# Forward-auth

\`npx tsx bench/forward-auth.ts\`, after \`npm run build\`, measured this: ${ROUNDS} rounds of ${SECONDS} s for each case, in alternation, after
a warm-up, at ${CONNECTIONS} connections. The load, the servers and Redis share the machine, so that only the ratios of one run are
meaningful. The *bare server* is one of \`node:http\` that responds to the same GET with the same headers. All requests are
warm: token and delegated token are in the client-side cache.

${facts}

${formatTable([['budget', 'bound', 'measured', 'kept'], ...budgets.map(judge)])}

${formatTable([
  ['case', 'per second: median (minimum to maximum)', 'median ms', 'p99 ms', 'of the bare server'],
  ...Object.entries(all).map(([name, { rate, p50, p99 }]) => [
    name,
    String(rate),
    format(p50.median),
    format(p99.median),
    ratio(rate.median / bare),
  ]),
])}
`,
  )
})
