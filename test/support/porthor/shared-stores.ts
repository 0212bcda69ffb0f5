import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, beforeAll, expect, vi } from 'vitest'
import type { Environment } from '../../../src/config/config.ts'
import { type TokenKey, unsafeTokenKey } from '../../../src/domain/token.ts'
import type { Clock } from '../../../src/lib/clock.ts'
import { Fernet } from '../../../src/lib/fernet.ts'
import { createLogger } from '../../../src/lib/logger.ts'
import { EncryptedRecords } from '../../../src/stores/token-store/encrypted-records.ts'
import { serverSecrets } from '../processes/server-process.ts'
import { freshDatabase, freshRedis } from '../stores/stores.ts'
import { openTcpProxy, type TcpProxy } from '../stores/tcp-proxy.ts'
import type { Stage } from '../tokens/life-of-tokens.ts'
import type { StoreKind } from './porthor.ts'

/** Several Porthors on the same stores, each of which can be cut off from them, as by its death. */

export const silent = createLogger('silent')

/** All that connects one process to its stores. */
export interface Cable extends Pick<TcpProxy, 'refuse' | 'pass' | 'close'> {
  readonly env: Environment
  readonly stopAt: TcpProxy['stopAt']
}

/** Stores of a file's own, and all that the story of its tokens wants to know of them. */
export function useSharedStores(store: StoreKind, settings: Environment) {
  let env: Environment = {}
  let pool: pg.Pool
  let redis: Redis
  let drop: () => Promise<void>

  beforeAll(async () => {
    const database = await freshDatabase()
    const { url } = await freshRedis()
    drop = database.drop
    pool = new pg.Pool({ connectionString: database.url, max: 2 })
    redis = new Redis(url)
    env = {
      ...serverSecrets(),
      DATABASE_URL: database.url,
      REDIS_URL: url,
      TOKEN_STORE: store,
      ...settings,
    }
  })
  afterAll(async () => {
    redis.disconnect()
    await pool.end()
    await drop()
  })

  const values = async (): Promise<(readonly [TokenKey, string | null])[]> => {
    if (store === 'postgres') {
      const { rows } = await pool.query<{ token: TokenKey; value: string }>(
        'SELECT token, value FROM porthor_token_store',
      )
      return rows.map(({ token, value }) => [token, value])
    }
    const keys = await redis.keys('token:*')
    const found = keys.length > 0 ? await redis.mget(keys) : []
    return keys.map((key, index) => [unsafeTokenKey(key.slice('token:'.length)), found[index] ?? null])
  }
  const recordsAt = (clock: Clock) =>
    new EncryptedRecords({ fernet: new Fernet((env.SESSION_SECRET ?? '').split(',')), clock, log: silent })

  return {
    get env() {
      return env
    },
    stage: (clock: Clock): Pick<Stage, 'clock' | 'bootstrapToken' | 'sql' | 'entries'> => ({
      clock,
      bootstrapToken: env.BOOTSTRAP_TOKEN ?? '',
      sql: async (text, params) => (await pool.query(text, params)).rows,
      entries: async () => recordsAt(clock).inspectAll(await values()),
    }),
    /** Redis counts real seconds: lets it drop what has ended by the clock of the test. */
    dropExpired: async (clock: Clock) => {
      if (store === 'postgres') return
      const records = recordsAt(clock)
      const ended = (await values()).filter(([key, value]) => !records.decrypt(key, value))
      if (ended.length > 0) await redis.del(...ended.map(([key]) => `token:${key}`))
    },
    empty: async () => {
      await redis.flushdb()
      await pool.query(
        `DELETE FROM token; DELETE FROM token_change_history; DELETE FROM porthor_token_store;
         DELETE FROM porthor_pending_change`,
      )
    },
    /** Resolves when PostgreSQL has no work left of those who are gone. */
    quiet: () =>
      vi.waitFor(
        async () => {
          const { rowCount } = await pool.query(
            `SELECT FROM pg_stat_activity
             WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()`,
          )
          expect(rowCount).toBe(0)
        },
        { timeout: 10_000, interval: 5 },
      ),
    cable: async (): Promise<Cable> => {
      const proxies = await Promise.all(
        [env.DATABASE_URL, env.REDIS_URL].map((url) => openTcpProxy(url ?? '')),
      )
      const [database, cache] = proxies
      const each = (work: (proxy: TcpProxy) => Promise<void>) =>
        Promise.all(proxies.map(work)).then(() => undefined)
      return {
        env: {
          ...env,
          DATABASE_URL: database?.through(env.DATABASE_URL ?? ''),
          REDIS_URL: cache?.through(env.REDIS_URL ?? ''),
        },
        stopAt: (text, when) => Promise.race(proxies.map((proxy) => proxy.stopAt(text, when))),
        refuse: () => each((proxy) => proxy.refuse()),
        pass: async () => {
          // Takes away a trap that has not sprung.
          for (const proxy of proxies) void proxy.stopAt('nobody says this', 'before')
          await each((proxy) => proxy.pass())
        },
        close: () => each((proxy) => proxy.close()),
      }
    },
  }
}
