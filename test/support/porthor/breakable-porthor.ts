import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import pg from 'pg'
import { expect, vi } from 'vitest'
import type { GraphQLAnswer } from '../requests/graphql.ts'
import { waitForLocks } from '../stores/locks.ts'
import { type RedisProcess, startRedis } from '../stores/redis.ts'
import { openTcpProxy, type TcpProxy } from '../stores/tcp-proxy.ts'
import { openPorthor, type Porthor, type StoreKind } from './porthor.ts'

/** Takes what is to be undone when the test ends: vitest's `onTestFinished` of that test. */
export type OnFinished = (undo: () => Promise<void>) => void

/** A running Porthor whose stores can be broken: PostgreSQL by its cable, Redis by its process. */
export interface BreakablePorthor {
  readonly h: Porthor
  readonly session: string
  /** Between Porthor and PostgreSQL. The `sql` of `h` goes another way. */
  readonly cable: TcpProxy
  /** The process now running; its data outlive it. */
  readonly redis: RedisProcess
  readonly redisClient: Redis
  /** Starts Redis again where it was, with what it held. */
  startRedisAgain(): Promise<void>
  /** Resolves when Porthor says that it is ready. */
  ready(): Promise<void>
  /** A delegated token for `service`, by the session. */
  lend(service: string): Promise<GraphQLAnswer>
  /** Locks `sql` takes on a connection of its own; answers with what lets go of them. */
  hold(sql: string, values?: unknown[]): Promise<() => Promise<void>>
  /** Stops every creation after it has taken its locks and before it writes. */
  stopInserts(): Promise<() => Promise<void>>
  waiting(count: number): Promise<void>
  /** Every key in the token store, in order. */
  storeKeys(): Promise<string[]>
  /** Every token in the token store has its row and its history entry, and the other way round. */
  expectNothingHalfMade(): Promise<void>
  /** What was logged at level error. */
  errors(): string[]
}

const LEND =
  'mutation ($service: String!) { delegated: internalToken(service: $service, scopes: ["read:all"]) { token key source } }'

export async function openBreakablePorthor(
  store: StoreKind,
  onFinished: OnFinished,
): Promise<BreakablePorthor> {
  const dir = await mkdtemp(join(tmpdir(), 'porthor-redis-'))
  onFinished(() => rm(dir, { recursive: true, force: true }))
  const keepsData = { dir, args: ['--appendonly', 'yes', '--appendfsync', 'always'] }
  let redis = await startRedis(keepsData)
  onFinished(() => redis.stop())
  const redisClient = new Redis(redis.url)
  redisClient.on('error', () => undefined)
  onFinished(async () => redisClient.disconnect())

  const h = await openPorthor({ store, env: store === 'redis' ? { REDIS_URL: redis.url } : {} })
  onFinished(() => h.close())
  const databaseUrl = h.env.DATABASE_URL ?? ''
  const cable = await openTcpProxy(databaseUrl)
  await h.restart({ DATABASE_URL: cable.through(databaseUrl) })
  onFinished(() => cable.close())

  const session = await h.session()
  const hold = async (sql: string, values?: unknown[]) => {
    const client = new pg.Client(databaseUrl)
    client.on('error', () => undefined)
    await client.connect()
    await client.query('BEGIN')
    await client.query(sql, values)
    return () => client.end()
  }
  const storeKeys = async () => {
    if (store === 'redis') return (await redisClient.keys('token:*')).map((key) => key.slice(6)).sort()
    const rows = await h.sql<{ token: string }>('SELECT token FROM porthor_token_store ORDER BY token')
    return rows.map(({ token }) => token)
  }
  return {
    h,
    session,
    cable,
    get redis() {
      return redis
    },
    redisClient,
    startRedisAgain: async () => {
      redis = await startRedis({ port: redis.port, ...keepsData })
    },
    ready: () =>
      vi.waitFor(async () => expect(await h.context.checkStores()).toMatchObject({ issuing: true }), {
        timeout: 20_000,
      }),
    lend: (service) => h.ask(LEND, { token: session, variables: { service } }),
    hold,
    stopInserts: () => hold('LOCK TABLE token_change_history IN SHARE MODE'),
    waiting: (count) => waitForLocks(h, count),
    storeKeys,
    expectNothingHalfMade: async () => {
      const rows = await h.sql<{ token: string }>(
        `SELECT token FROM token JOIN token_change_history USING (token) WHERE action = 'create' ORDER BY token`,
      )
      const all = await h.sql('SELECT token FROM token')
      expect(rows).toHaveLength(all.length)
      expect(await storeKeys()).toEqual(rows.map(({ token }) => token))
    },
    errors: () => h.logLines.filter(({ level }) => level >= 50).map(({ msg }) => msg),
  }
}
