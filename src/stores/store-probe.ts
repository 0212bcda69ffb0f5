import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { openPrisma } from './database/prisma.ts'
import { findObstacles, TOKEN_STORE_TABLE } from './database/writable.ts'
import { openRedis } from './redis/client.ts'
import { pingMasters } from './redis/masters.ts'
import { callStore } from './unavailable.ts'

/** What the stores make possible at a moment. */
export interface StoreHealth {
  /** Whether the token store responds, so that tokens can be checked and delegated tokens reused. */
  readonly tokens: boolean
  /** Whether both stores take writes too, so that tokens can be issued, changed and revoked. */
  readonly issuing: boolean
  /** Why something is not possible, where PostgreSQL responds. Names nothing in the database. */
  readonly reason: string | undefined
}

export interface StoreProbe {
  /** Checks both stores. Does not reject. */
  readonly check: () => Promise<StoreHealth>
  readonly close: () => Promise<void>
}

/**
 * Opens connections to both stores for readiness checks, so that these do not wait for requests, nor requests for them.
 * They log nothing: the connections of requests log errors of the stores.
 */
export function openStoreProbe({ tokenStore, redisUrl, databaseUrl }: Config, log: Logger): StoreProbe {
  const quiet = log.child({}, { level: 'silent' })
  const prisma = openPrisma(databaseUrl.reveal(), quiet, 1)
  const redis = tokenStore === 'redis' && redisUrl ? openRedis(redisUrl.reveal(), quiet) : undefined
  const pingRedis = async () => {
    if (redis) await callStore('redis', () => pingMasters(redis))
  }
  return {
    check: async () => {
      const [obstacles, doesRedisRespond] = await Promise.all([
        callStore('postgres', () => findObstacles(prisma)).catch(() => undefined),
        pingRedis().then(
          () => true,
          () => false,
        ),
      ])
      const areRecordsReadable =
        obstacles?.list.some(({ table, right }) => table === TOKEN_STORE_TABLE && right === 'SELECT') ===
        false
      const tokens = redis ? doesRedisRespond : areRecordsReadable
      return { tokens, issuing: tokens && obstacles?.list.length === 0, reason: obstacles?.summary }
    },
    close: async () => {
      redis?.disconnect()
      await prisma.$disconnect()
    },
  }
}
