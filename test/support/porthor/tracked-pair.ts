import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { expect, vi } from 'vitest'
import { type Clock, systemClock } from '../../../src/lib/clock.ts'
import { serverSecrets } from '../processes/server-process.ts'
import { askUntilAvailable } from '../requests/graphql.ts'
import { type RedisProcess, startRedis } from '../stores/redis.ts'
import { freshDatabase } from '../stores/stores.ts'
import type { OnFinished } from './breakable-porthor.ts'
import { openPorthor, type Porthor } from './porthor.ts'

/** What a test puts between a Porthor and Redis. */
interface Cable {
  through(url: string): string
  close(): Promise<void>
}

/** What came of asking for a delegated token. */
export interface Attempt {
  /** When it was asked for, in milliseconds, by `performance.now()`. */
  readonly sentAt: number
  /** The key of the token; `undefined` for a refusal. */
  readonly key: string | undefined
  /** The code of the refusal. */
  readonly code: unknown
}

/** Two Porthors on the same stores, of which `near` keeps tracked copies, and reaches Redis by the cable. */
export interface TrackedPair<C extends Cable> {
  readonly near: Porthor<Clock>
  /** Keeps no copies. */
  readonly far: Porthor<Clock>
  readonly cable: C
  /** The Redis now running. */
  readonly redis: RedisProcess
  /** The test's own way to Redis. */
  readonly control: Redis
  /** The bootstrap token. */
  readonly admin: string
  /** What `far` answers to it. */
  asAdmin<T>(query: string, variables?: Record<string, unknown>): Promise<T>
  /** A new session, by `far`; answers with its bearer string. */
  session(): Promise<string>
  lend(porthor: Porthor<Clock>, session: string): Promise<Attempt>
  /** Has `far` revoke a token; answers with the time of its answer. */
  revoke(key: string): Promise<number>
  /** Resolves when `near` lends to `session` from its copies; with the key of what it lends. */
  warm(session: string): Promise<string>
  /** Asks `near` until it does not lend `key`; answers with what it did then, and when it was last asked and did. */
  untilNotLent(session: string, key: string): Promise<Attempt & { readonly lastLent: number }>
  /** How many commands Redis was sent while `work` went on, by name; but for what keeps the link alive. */
  commandsOf(work: () => Promise<unknown>): Promise<Record<string, number>>
  /** Ends Redis as a crash would, and starts it again where it was, empty. */
  restartRedis(): Promise<void>
}

const LEND = 'mutation { lent: internalToken(service: "tap", scopes: ["read:all"]) { key } }'
const SESSION =
  'mutation { made: createSessionToken(input: { username: "wren", scopes: ["read:all"] }) { token } }'
const REVOKE = 'mutation ($key: ID!) { revokeToken(key: $key) { keys } }'

/** What the test itself sends, and by what the link is asked whether it lives. */
const NOT_COUNTED = new Set(['ping', 'info', 'config|resetstat'])

/** How long `near` may take until it is well again, in milliseconds: the machine may be busy. */
const HEALING_MS = 10_000

/** Between two attempts, in milliseconds: the link wants its turn too. */
const PAUSE_MS = 5

export async function openTrackedPair<C extends Cable>(
  onFinished: OnFinished,
  openCable: (url: string) => Promise<C>,
): Promise<TrackedPair<C>> {
  let redis = await startRedis()
  onFinished(() => redis.stop())
  const control = new Redis(redis.url)
  control.on('error', () => undefined)
  onFinished(async () => control.disconnect())
  const cable = await openCable(redis.url)
  onFinished(() => cable.close())
  const database = await freshDatabase()
  onFinished(database.drop)

  const secrets = serverSecrets()
  const env = { ...secrets, DATABASE_URL: database.url, REDIS_URL: redis.url, CLIENT_SIDE_CACHE: 'false' }
  const far = await openPorthor({ env, clock: systemClock, isOnGivenStores: true })
  onFinished(far.close)
  const gateway = { AUTH_PORT: '0', AUTH_POLICIES: JSON.stringify({ tap: { delegate: { service: 'tap' } } }) }
  const tracked = { ...env, ...gateway, REDIS_URL: cable.through(redis.url), CLIENT_SIDE_CACHE: 'true' }
  const near = await openPorthor({ env: tracked, clock: systemClock, isOnGivenStores: true })
  onFinished(near.close)

  const asAdmin = async <T>(query: string, variables: Record<string, unknown> = {}): Promise<T> => {
    const { data, errors } = await far.ask(query, { token: secrets.BOOTSTRAP_TOKEN, variables })
    expect(errors).toEqual([])
    return data as T
  }
  const lend = async (porthor: Porthor<Clock>, token: string): Promise<Attempt> => {
    const sentAt = performance.now()
    const { data, code } = await porthor.ask(LEND, { token })
    return { sentAt, key: (data?.lent as { key: string } | undefined)?.key, code }
  }
  const commandsOf = async (work: () => Promise<unknown>): Promise<Record<string, number>> => {
    await control.config('RESETSTAT')
    await work()
    const stats = (await control.info('commandstats')).matchAll(/^cmdstat_(\S+):calls=(\d+)/gm)
    const counts = [...stats].map(([, name = '', calls]) => [name, Number(calls)] as const)
    return Object.fromEntries(counts.filter(([name]) => !NOT_COUNTED.has(name)))
  }

  return {
    admin: secrets.BOOTSTRAP_TOKEN,
    asAdmin,
    near,
    far,
    cable,
    get redis() {
      return redis
    },
    control,
    session: async () => {
      const asked = () => far.ask(SESSION, { token: secrets.BOOTSTRAP_TOKEN })
      const { data, errors } = await askUntilAvailable(asked)
      expect(errors).toEqual([])
      return (data as { made: { token: string } }).made.token
    },
    lend,
    revoke: async (key) => {
      await asAdmin(REVOKE, { key })
      return performance.now()
    },
    warm: (session) =>
      vi.waitFor(
        async () => {
          const attempts: Attempt[] = []
          const commands = await commandsOf(async () => attempts.push(await lend(near, session)))
          expect(commands).toEqual({})
          return attempts[0]?.key ?? ''
        },
        { timeout: HEALING_MS, interval: 20 },
      ),
    untilNotLent: async (session, key) => {
      for (let lastLent = Number.NEGATIVE_INFINITY; ; await delay(PAUSE_MS)) {
        const attempt = await lend(near, session)
        if (attempt.key !== key) return { ...attempt, lastLent }
        lastLent = attempt.sentAt
      }
    },
    commandsOf,
    restartRedis: async () => {
      await redis.kill()
      redis = await startRedis({ port: redis.port })
    },
  }
}
