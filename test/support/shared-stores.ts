import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, beforeAll, expect, vi } from 'vitest'
import { openApp } from '../../src/app.ts'
import { type Environment, loadConfig } from '../../src/config/config.ts'
import { type TokenKey, toTokenKey } from '../../src/domain/token.ts'
import { createServer } from '../../src/http/server.ts'
import type { Clock } from '../../src/lib/clock.ts'
import { Fernet } from '../../src/lib/fernet.ts'
import { createLogger } from '../../src/lib/logger.ts'
import { EncryptedRecords } from '../../src/stores/token-store/encrypted-records.ts'
import { type AskOptions, askGraphQL, type GraphQLAnswer, type StoreKind } from './harness.ts'
import type { Stage } from './life-of-tokens.ts'
import { serverSecrets } from './processes.ts'
import { freshDatabase, freshRedis } from './stores.ts'
import { openTcpProxy, type TcpProxy } from './tcp-proxy.ts'

/** Several Porthors on the same stores, each of which can be cut off from them, as by its death. */

export const silent = createLogger('silent')

export interface Porthor {
  readonly ask: (query: string, options: AskOptions) => Promise<GraphQLAnswer>
  close(): Promise<void>
}

/** A server in this process, with a clock that the test moves. */
export async function openPorthor(env: Environment, clock: Clock): Promise<Porthor> {
  const context = openApp(loadConfig(env), { clock, log: silent })
  const server: Server = createServer(context).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/graphql`
  return {
    ask: (query, options) => askGraphQL(url, query, options),
    close: async () => {
      server.close()
      server.closeAllConnections()
      await context.close()
    },
  }
}

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
    return keys.map((key, index) => [toTokenKey(key.slice('token:'.length)), found[index] ?? null])
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
