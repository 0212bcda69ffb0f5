import { pino } from 'pino'
import { addSeconds, DAY_SECONDS } from '../src/domain/lifetime.ts'
import { generateToken, NO_USER_INFO, type TokenData } from '../src/domain/token.ts'
import type { PrismaClient } from '../src/generated/prisma/client.ts'
import { systemClock } from '../src/lib/clock.ts'
import { parsePostgresUrl } from '../src/lib/postgres-url.ts'
import { TokenCacheService } from '../src/services/delegation/token-cache-service.ts'
import { TokenIssuer } from '../src/services/tokens/token-issuer.ts'
import { openPrisma } from '../src/stores/database/prisma.ts'
import { TokenDatabase, type TokenTransaction } from '../src/stores/database/token-database.ts'
import { startRedis } from '../test/support/stores/redis.ts'
import { generateData } from './data.ts'
import { newSecrets, openStores } from './server.ts'
import {
  format,
  formatTable,
  machineFacts,
  percentile,
  report,
  timed,
  withClient,
  withDatabase,
} from './support.ts'

/** Measures the duration of each step of a creation, with one and with many creations at a time. */
const TOKENS = 100_000
const CREATIONS = 2_000
const PARENTS = 200
const AT_ONCE = [1, 32]

/** Durations of every run of each step in milliseconds, in the order in which the steps first ran. */
class Steps {
  readonly times = new Map<string, number[]>()

  note(step: string, ms: number): void {
    const times = this.times.get(step) ?? []
    times.push(ms)
    this.times.set(step, times)
  }

  /** Returns `target` with each of its methods in `steps` measured as a step. */
  watch<T extends object>(target: T, steps: Readonly<Record<string, string>>): T {
    return new Proxy(target, {
      get: (object, name) => {
        const value: unknown = Reflect.get(object, name)
        if (typeof value !== 'function') return value
        const step = steps[String(name)]
        if (step === undefined) return value.bind(object)
        return async (...args: unknown[]) => {
          const { ms, value: result } = await timed(async () => value.apply(object, args))
          this.note(step, ms)
          return result
        }
      },
    })
  }
}

/** Measures its transactions: their steps, and the time to begin and to commit. */
class WatchedDatabase extends TokenDatabase {
  readonly #steps: Steps

  constructor(prisma: PrismaClient, steps: Steps) {
    super(prisma)
    this.#steps = steps
  }

  override async transaction<T>(work: (tx: TokenTransaction) => Promise<T>): Promise<T> {
    const start = systemClock.monotonicMs()
    let end = start
    const committed = await super.transaction(async (tx) => {
      this.#steps.note('BEGIN', systemClock.monotonicMs() - start)
      const result = await work(
        this.#steps.watch(tx, {
          lockForDelegation: 'lock the parent and the lock key',
          insert: 'search again, insert row, lineage and history',
        }),
      )
      end = systemClock.monotonicMs()
      return result
    })
    this.#steps.note('COMMIT', systemClock.monotonicMs() - end)
    return committed
  }
}

/** Results of several creations: durations of their steps and in total, in milliseconds, and creations per second. */
interface Run {
  readonly steps: Steps
  readonly all: readonly number[]
  readonly rate: number
}

function newParent(): TokenData {
  const createdAt = systemClock.nowToSecond()
  return {
    type: 'session',
    token: generateToken(),
    username: 'wren',
    userInfo: NO_USER_INFO,
    scopes: ['read:all'],
    createdAt,
    expiresAt: addSeconds(createdAt, 30 * DAY_SECONDS),
  }
}

await withDatabase(async (url) => {
  await withClient(url, (client) => generateData(client, { tokens: TOKENS, changes: TOKENS }))
  const redis = await startRedis()
  const stores = openStores({ ...newSecrets(), DATABASE_URL: url, REDIS_URL: redis.url })
  const log = pino({ level: 'silent' })
  const prisma = openPrisma(parsePostgresUrl(url), log)

  /** Creates children, `atOnce` at a time. */
  async function create(atOnce: number, count: number): Promise<Run> {
    const steps = new Steps()
    const tokens = steps.watch(stores.tokens, {
      get: 'Redis: read the parent again',
      put: 'Redis: write the child',
    })
    const database = steps.watch(new WatchedDatabase(prisma, steps), { findChildren: 'search for a child' })
    const cache = new TokenCacheService({
      tokens,
      database,
      issuer: new TokenIssuer({ tokens, database, log }),
      orphanDetector: { watch: () => undefined, onChange: () => undefined },
      broadcast: { send: async () => undefined },
      clock: systemClock,
      log,
      knownScopes: new Map([['read:all', '']]),
      limits: { undelegableScopes: new Set(), services: undefined, maxDepth: 5, maxChildren: 100_000 },
      rights: { mode: 'self' },
      delegatedLifetime: DAY_SECONDS,
      cacheSize: 5_000,
    })
    const issuer = new TokenIssuer({ tokens: stores.tokens, database: new TokenDatabase(prisma), log })
    const parents = Array.from({ length: PARENTS }, newParent)
    for (const data of parents) {
      await issuer.transaction({ token: '<bench>', user: '<bench>' }, (_tx, issue) =>
        issue({ data, tokenName: null, parentKey: null }, { actor: 'wren', ipAddress: null }),
      )
    }
    const all: number[] = []
    let created = 0
    const worker = async (): Promise<void> => {
      for (let next = created++; next < count; next = created++) {
        const parent = parents[next % PARENTS] ?? newParent()
        const creation = () => cache.getInternalToken(parent, `service-${next}`, ['read:all'], '127.0.0.1')
        const { ms, value } = await timed(creation)
        if (value.source !== 'new') throw new Error(`expected a new token, not one from ${value.source}`)
        all.push(ms)
      }
    }
    const { ms } = await timed(() => Promise.all(Array.from({ length: atOnce }, worker)))
    return { steps, all, rate: (count * 1000) / ms }
  }

  await create(AT_ONCE[1] ?? 1, CREATIONS)
  const runs: Run[] = []
  for (const atOnce of AT_ONCE) runs.push(await create(atOnce, CREATIONS))

  const median = (times: readonly number[] = []): string => format(percentile(times, 0.5))
  const rows = [...(runs[0]?.steps.times.keys() ?? [])].map((step) => [
    step,
    ...runs.map(({ steps }) => median(steps.times.get(step))),
  ])
  const total = ['total', ...runs.map(({ all }) => median(all))]
  const rates = runs.map(({ rate }, index) => `${format(rate)} per second, ${AT_ONCE[index]} at once`)
  await report(
    'creation',
    `# Steps of a creation

Median duration of each step, in milliseconds, over ${format(CREATIONS)} creations of a child through the service, without HTTP, beside
${format(TOKENS)} other tokens. Each step is one round trip to PostgreSQL or Redis. With more creations at once than cores, a step includes
the wait for the CPU, and \`BEGIN\` the wait for one of 20 connections. Service, PostgreSQL and Redis share the machine.
Repeat it with \`node --import tsx bench/creation-steps.ts\`.

${await withClient(url, machineFacts)}

${formatTable([['step', ...AT_ONCE.map((atOnce) => `${atOnce} at a time`)], ...rows, total])}

${rates.join('; ')}.
`,
  )
  await stores.close()
  await prisma.$disconnect()
  await redis.stop()
})
