import { parseToken } from '../src/domain/token.ts'
import { systemClock } from '../src/lib/clock.ts'
import { startRedis } from '../test/support/stores/redis.ts'
import { meanwhile, PAUSE_MS } from './load.ts'
import { AskError, newSecrets, type Server, startServer } from './server.ts'
import {
  format,
  formatTable,
  machineFacts,
  percentile,
  report,
  say,
  timed,
  withClient,
  withDatabase,
} from './support.ts'

/** Measures how long other processes accept a token after one process has revoked it. */
const REVOCATIONS = 2_000

/** Trees that are created at the same time, before the measurement. */
const CREATION_BATCH_SIZE = 8

/** Clients per server that reuse other tokens at the same time: a load below the capacity of two cores. */
const CLIENTS = 4

/** Required bounds, in milliseconds. */
const BUDGET_P99_MS = 50
const BOUND_MS = 2_000

const SESSION =
  'mutation ($name: String!) { made: createSessionToken(input: { username: $name, scopes: ["read:all"] }) { token } }'
const DELEGATE = 'mutation { delegated: internalToken(service: "tap", scopes: ["read:all"]) { token } }'
const VIEWER = '{ viewer { user { username } } }'
const REVOKE = 'mutation ($key: ID!) { revokeToken(key: $key) { keys } }'

/** Bearer strings. */
interface Family {
  readonly parent: string
  readonly child: string
}

/** One other process, one revocation. */
interface Sample {
  /** Time from the response of the revocation to the first correct response, in milliseconds. */
  readonly ms: number
  /** Time to the last wrong response, in milliseconds; `undefined` where the first was correct. */
  readonly wrongUntil: number | undefined
}

const delegate = async (server: Server, parent: string): Promise<string> =>
  (await server.ask<{ delegated: { token: string } }>(DELEGATE, parent)).delegated.token

/** Creates a session and a child, and brings both into the caches of `others`. */
async function makeFamily(
  maker: Server,
  others: readonly Server[],
  admin: string,
  name: string,
): Promise<Family> {
  const { made } = await maker.ask<{ made: { token: string } }>(SESSION, admin, { name })
  const parent = made.token
  let child = ''
  // The first request finds or creates the child, the second brings it into the cache.
  for (const server of [...others, ...others]) child = await delegate(server, parent)
  return { parent, child }
}

/** Returns `count` results of `make`, which runs several times in parallel. */
async function makeMany<T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> {
  const made: T[] = []
  let next = 0
  const worker = async () => {
    while (next < count) made.push(await make(next++))
  }
  await Promise.all(Array.from({ length: CREATION_BATCH_SIZE }, worker))
  return made
}

/** Repeats the request until the response is correct. */
async function watch(isCorrect: () => Promise<boolean>): Promise<Sample> {
  const start = systemClock.monotonicMs()
  let wrongUntil: number | undefined
  for (;;) {
    const isOver = await isCorrect()
    const ms = systemClock.monotonicMs() - start
    if (isOver) return { ms, wrongUntil }
    wrongUntil = ms
  }
}

/** Whether `server` refuses `token`. */
async function refuses(server: Server, query: string, token: string): Promise<boolean> {
  try {
    await server.ask(query, token)
    return false
  } catch (error) {
    if (error instanceof AskError && error.code === 'UNAUTHENTICATED') return true
    throw error
  }
}

const KINDS = [
  'revoked parent, until refused',
  'child of a revoked parent, until refused',
  'revoked child, until another is returned',
] as const

type Samples = Readonly<Record<(typeof KINDS)[number], Sample[]>>

async function measure(databaseUrl: string, redisUrl: string): Promise<Samples> {
  const secrets = newSecrets()
  const admin = secrets.BOOTSTRAP_TOKEN
  const env = { ...secrets, DATABASE_URL: databaseUrl, REDIS_URL: redisUrl }
  const servers = await Promise.all([1, 2, 3].map(() => startServer(env)))
  const [revoker, ...others] = servers
  if (!revoker) throw new Error('expected three servers')
  try {
    const { value: families, ms } = await timed(() =>
      makeMany(REVOCATIONS, (index) => makeFamily(revoker, others, admin, `user${index}`)),
    )
    const sessions = await makeMany(CLIENTS, (index) => makeFamily(revoker, others, admin, `client${index}`))
    say(families.length, 'families created in', format(ms / 1000), 's')

    const samples: Samples = {
      'revoked parent, until refused': [],
      'child of a revoked parent, until refused': [],
      'revoked child, until another is returned': [],
    }
    const note = async (kind: (typeof KINDS)[number], isCorrect: (server: Server) => Promise<boolean>) => {
      samples[kind].push(...(await Promise.all(others.map((server) => watch(() => isCorrect(server))))))
    }
    const revoke = (token: string) => revoker.ask(REVOKE, admin, { key: parseToken(token).key })
    const revokeAll = async () => {
      for (const [index, { parent, child }] of families.entries()) {
        if (index % 2 === 0) {
          await revoke(parent)
          await Promise.all([
            note('revoked parent, until refused', (server) => refuses(server, DELEGATE, parent)),
            note('child of a revoked parent, until refused', (server) => refuses(server, VIEWER, child)),
          ])
        } else {
          await revoke(child)
          await note(
            'revoked child, until another is returned',
            async (server) => (await delegate(server, parent)) !== child,
          )
        }
      }
    }
    const underLoad = servers.reduce<() => Promise<unknown>>(
      (work, server) => () =>
        meanwhile(
          server,
          sessions.map(({ parent }) => parent),
          work,
        ),
      revokeAll,
    )
    say('revoked in', format((await timed(underLoad)).ms / 1000), 's')
    return samples
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
  }
}

const row = (kind: string, samples: readonly Sample[]): string[] => {
  const times = samples.map(({ ms }) => ms)
  const wrong = samples.flatMap(({ wrongUntil }) => wrongUntil ?? [])
  const figures = [times.length, percentile(times, 0.5), percentile(times, 0.99), Math.max(...times)]
  return [kind, ...[...figures, wrong.length, Math.max(0, ...wrong)].map(format)]
}

await withDatabase(async (url) => {
  const redis = await startRedis()
  const samples = await measure(url, redis.url).finally(() => redis.stop())
  const all = Object.values(samples).flat()
  const times = all.map(({ ms }) => ms)
  const isKept = percentile(times, 0.99) <= BUDGET_P99_MS && Math.max(...times) <= BOUND_MS
  const facts = await withClient(url, machineFacts)
  await report(
    'revocation-latency',
    `# Time until other processes refuse a revoked token

Three processes share one PostgreSQL and one Redis, with the client-side cache. One of them revokes ${format(REVOCATIONS)} tokens in a row, every
other time only a child. The two others have each token and its parent in their cache. From the response of \`revokeToken\` on,
they receive requests with the token, one after the other. A sample ends with the first correct response. It includes the round
trip of that request, and for a revoked child the search for the next one or its creation. \`wrong\` is the number of samples
whose first response was not yet correct, and \`last wrong\` the latest time of such a response. Times are in milliseconds. In
the meantime ${CLIENTS} clients of each process reuse another token, with ${PAUSE_MS} ms between response and request. Everything runs on the
same cores. Repeat it with \`node --import tsx bench/revocation-latency.ts\`.

${facts}

${formatTable([
  ['what', 'samples', 'median', 'p99', 'slowest', 'wrong', 'last wrong'],
  ...KINDS.map((kind) => row(kind, samples[kind])),
  row('all', all),
])}

Budget: p99 at most ${BUDGET_P99_MS} ms, none later than ${format(BOUND_MS)} ms: ${isKept ? 'kept' : 'NOT kept'}.
`,
  )
})
