import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import pg from 'pg'
import type { Environment } from '../src/config/config.ts'
import { systemClock } from '../src/lib/clock.ts'
import { startRedis } from '../test/support/stores/redis.ts'
import { newSecrets, type Server, startServer } from './server.ts'
import { Population, SHARES } from './soak-load.ts'
import { type Minute, Recorder } from './soak-samples.ts'
import { format, formatTable, machineFacts, report, say, withClient, withDatabase } from './support.ts'

/** Measures whether memory, rows and keys of two servers stay constant under a mixed load. */
const MINUTES = Number(process.env.SOAK_MINUTES || 30)

/** Requests per second, to both servers together. */
const RATE = 200

/** Requests are sent in batches, so that timers need not be precise. */
const TICKS_PER_SECOND = 20

/** Maximum number of running requests. Further ones are counted as `left out`: the servers cannot keep up. */
const MOST_UNDER_WAY = 1_000

/** Lifetime of delegated tokens, in seconds: after it, as many expire as are issued. */
const LIFETIME_SECONDS = 600

/** Age at which history events are deleted, in seconds: their number is constant after this time. */
const HISTORY_SECONDS = 300

/** Maximum growth from the middle third of the run to the last, as a ratio. */
const MAX_GROWTH = 0.1

const settings = {
  DELEGATED_TOKEN_LIFETIME: `${LIFETIME_SECONDS}s`,
  HISTORY_RETENTION: `${HISTORY_SECONDS}s`,
  // About the number of parents, so that the caches are full early.
  TOKEN_CACHE_SIZE: '1000',
}

/** Runs `porthor maintenance`, which the servers run only once an hour. */
async function maintain(env: Environment): Promise<void> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/main.ts', 'maintenance'], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    env: { PATH: process.env.PATH, NODE_ENV: 'production', ...env, LOG_LEVEL: 'warn' },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`porthor maintenance ended with ${code}`)
}

/** Sends requests at a constant rate, whatever their duration, until `signal` is aborted. */
async function load(population: Population, recorder: Recorder, { signal }: AbortController): Promise<void> {
  const running = new Set<Promise<void>>()
  const start = systemClock.monotonicMs()
  for (let sent = 0; !signal.aborted; ) {
    const due = Math.floor(((systemClock.monotonicMs() - start) / 1000) * RATE)
    for (; sent < due; sent += 1) {
      if (running.size >= MOST_UNDER_WAY) {
        recorder.count('left out')
        continue
      }
      const request: Promise<void> = population
        .step()
        .then(recorder.count)
        .finally(() => running.delete(request))
      running.add(request)
    }
    await delay(1000 / TICKS_PER_SECOND)
  }
  await Promise.all(running)
}

async function soak(env: Environment, admin: string, pool: pg.Pool, redis: Redis): Promise<Minute[]> {
  const servers: Server[] = await Promise.all([startServer(env), startServer(env)])
  const recorder = new Recorder({ servers, pool, redis })
  const stop = new AbortController()
  try {
    const population = new Population(servers, admin)
    await population.fill()
    recorder.start()
    const loading = load(population, recorder, stop)
    const start = systemClock.monotonicMs()
    for (let minute = 1; minute <= MINUTES; minute += 1) {
      await delay(start + minute * 60_000 - systemClock.monotonicMs())
      say(await recorder.minute(minute))
      await maintain(env)
    }
    stop.abort()
    await loading
    return recorder.minutes
  } finally {
    stop.abort()
    recorder.stop()
    await Promise.all(servers.map((server) => server.stop()))
  }
}

const SERIES: Readonly<Record<string, (minute: Minute) => number>> = {
  'RSS 1, MB': ({ rss }) => rss[0] ?? 0,
  'RSS 2, MB': ({ rss }) => rss[1] ?? 0,
  'heap 1, MB': ({ heap }) => heap[0] ?? 0,
  'heap 2, MB': ({ heap }) => heap[1] ?? 0,
  tokens: ({ tokens }) => tokens,
  lineage: ({ lineage }) => lineage,
  history: ({ history }) => history,
  'Redis keys': ({ redisKeys }) => redisKeys,
  'Redis, MB': ({ redisMemory }) => redisMemory,
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length

/** Returns the growth of each series from the middle third to the last. */
function growth(
  minutes: readonly Minute[],
): { readonly name: string; readonly cells: string[]; readonly grown: number }[] {
  const third = Math.floor(minutes.length / 3)
  return Object.entries(SERIES).map(([name, value]) => {
    const last = mean(minutes.slice(-third).map(value))
    const middle = mean(minutes.slice(-2 * third, -third).map(value))
    const grown = last / middle - 1
    return { name, cells: [name, format(middle), format(last), `${(100 * grown).toFixed(1)} %`], grown }
  })
}

function verdict(minutes: readonly Minute[]): string {
  if (minutes.length * 60 < 2.5 * LIFETIME_SECONDS)
    return `Too short for a result: tokens live ${LIFETIME_SECONDS / 60} minutes, and the run must last two and a half times as long.`
  const rows = growth(minutes)
  const growing = rows.filter(({ grown }) => grown > MAX_GROWTH).map(({ name }) => name)
  const table = formatTable([['', 'middle third', 'last third', 'growth'], ...rows.map(({ cells }) => cells)])
  const words = growing.length > 0 ? `NOT flat: ${growing.join(', ')}` : 'Flat'
  return `${words}. The threshold is a growth of more than ${100 * MAX_GROWTH} % from the middle third of the run to the last.\n\n${table}`
}

function describe(minutes: readonly Minute[]): string {
  const step = minutes.length > 10 ? 5 : 1
  const shown = minutes.filter(({ minute }) => minute % step === 0 || minute === minutes.length)
  const outcomes = [...new Set(minutes.flatMap((minute) => Object.keys(minute.outcomes)))].sort()
  const total = (outcome: string) => minutes.reduce((sum, minute) => sum + (minute.outcomes[outcome] ?? 0), 0)
  return `${formatTable([
    ['minute', 'responses/s', ...Object.keys(SERIES)],
    ...shown.map((minute) => [
      String(minute.minute),
      format(minute.rate),
      ...Object.values(SERIES).map((value) => format(value(minute))),
    ]),
  ])}

Outcomes of all requests:

${formatTable([['outcome', 'responses'], ...outcomes.map((outcome) => [outcome, format(total(outcome))])])}`
}

await withDatabase(async (url) => {
  const redisServer = await startRedis()
  const redis = new Redis(redisServer.url)
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  const secrets = newSecrets()
  const env = { ...secrets, ...settings, DATABASE_URL: url, REDIS_URL: redisServer.url }
  try {
    const minutes = await soak(env, secrets.BOOTSTRAP_TOKEN, pool, redis)
    const facts = await withClient(url, machineFacts)
    await report(
      'soak',
      `# ${MINUTES} minutes of mixed load

Two processes share one PostgreSQL and one Redis, with ${RATE} requests per second in all:

${SHARES}.

Delegated tokens live ${LIFETIME_SECONDS} s and history is kept for ${HISTORY_SECONDS} s, so that after ${LIFETIME_SECONDS / 60} minutes as many tokens expire as are created.
\`porthor maintenance\` runs each minute. RSS is that of the process. The heap is the smallest value of \`/metrics\` in the
minute, since garbage is not growth. Repeat it with \`SOAK_MINUTES=${MINUTES} node --import tsx bench/soak.ts\`.

${facts}

${describe(minutes)}

${verdict(minutes)}
`,
    )
  } finally {
    redis.disconnect()
    await pool.end()
    await redisServer.stop()
  }
})
