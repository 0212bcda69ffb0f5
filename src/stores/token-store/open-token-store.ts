import { Cluster } from 'ioredis'
import type { Logger } from 'pino'
import type { Config } from '../../config/config.ts'
import type { TokenKey } from '../../domain/token.ts'
import type { PrismaClient } from '../../generated/prisma/client.ts'
import type { Clock } from '../../lib/clock.ts'
import { type Broadcast, openPostgresBroadcast } from '../broadcast/broadcast.ts'
import { openRedisBroadcast } from '../broadcast/redis-broadcast.ts'
import { openPool } from '../database/prisma.ts'
import { RedisRunDatabase } from '../database/redis-run-database.ts'
import type { RunsInUse } from '../database/runs-in-use.ts'
import { openRedis } from '../redis/client.ts'
import type { RedisClient } from '../redis/commands.ts'
import { CachingTokenStore } from './caching-token-store.ts'
import { EncryptedRecords } from './encrypted-records.ts'
import { PostgresTokenStore } from './postgres-token-store.ts'
import { RedisInvalidations } from './redis-invalidations.ts'
import { RedisReplay } from './redis-replay.ts'
import { RedisTokenStore, tokenKeyOf } from './redis-token-store.ts'
import { RedisWrites } from './redis-writes.ts'
import type { TokenStore } from './token-store.ts'

const CLEAR_CACHE_CHANNEL = 'porthor_clear_token_cache'

export interface StoreDependencies {
  readonly clock: Clock
  readonly log: Logger
  readonly runs: RunsInUse
}

export interface OpenTokenStore {
  readonly tokens: TokenStore
  readonly openBroadcast: (onMessage: () => void) => Broadcast
  readonly close: () => Promise<void>
}

/** Opens the token store of the configuration, with its client-side cache and the broadcast of `clearTokenCache`. */
export function openTokenStore(
  config: Config,
  prisma: PrismaClient,
  deps: StoreDependencies,
  onChange: (keys: readonly TokenKey[] | null) => void,
): OpenTokenStore {
  const { tokenStore, redisUrl, databaseUrl, encryption, tokenCacheSize, clientSideCache } = config
  const { clock, log, runs } = deps
  const records = new EncryptedRecords({ fernet: encryption, clock, log })
  const broadcast = { channel: CLEAR_CACHE_CHANNEL, log }
  if (tokenStore === 'redis' && redisUrl) {
    const isOnlyRun = redisUrl.reveal().kind !== 'cluster'
    if (isOnlyRun) runs.track()
    const guard = new RedisReplay({
      database: new RedisRunDatabase(prisma),
      runs,
      isOnlyRun,
      records,
      clock,
      log,
      windowSeconds: config.redisReplayWindow,
    })
    const redis = openRedis(redisUrl.reveal(), log, guard)
    const replicas = config.redisWaitReplicas
    const writer = replicas > 0 ? openRedis(redisUrl.reveal(), log, guard) : redis
    const store = new RedisTokenStore({ redis, writes: new RedisWrites(writer, replicas), records, clock })
    const tracked = clientSideCache ? track(store, redis, tokenCacheSize, deps, onChange) : undefined
    return {
      tokens: tracked?.tokens ?? store,
      openBroadcast: (onMessage) =>
        openRedisBroadcast(redis, { ...broadcast, onMessage, onMissed: onMessage }),
      close: async () => {
        tracked?.close()
        writer.disconnect()
        redis.disconnect()
      },
    }
  }
  const pool = openPool(databaseUrl.reveal(), log)
  return {
    tokens: new PostgresTokenStore({ pool, records, clock }),
    openBroadcast: (onMessage) =>
      openPostgresBroadcast(pool, databaseUrl.reveal(), { ...broadcast, onMessage, onMissed: onMessage }),
    close: () => pool.end(),
  }
}

/** Records for each entry of a token cache: the children of both caches, and as many parents. */
const RECORDS_PER_CACHE_ENTRY = 4

function track(
  store: TokenStore,
  redis: RedisClient,
  cacheSize: number,
  { clock, log }: StoreDependencies,
  onChange: (keys: readonly TokenKey[] | null) => void,
): { readonly tokens: TokenStore; readonly close: () => void } | undefined {
  if (redis instanceof Cluster) {
    log.info('client-side cache is off: in a Redis Cluster each node reports only its own changes')
    return undefined
  }
  const tokens = new CachingTokenStore({
    store,
    clock,
    size: RECORDS_PER_CACHE_ENTRY * cacheSize,
    isLive: () => tracking.isLive,
  })
  const invalidate = (redisKeys: readonly string[] | null) => {
    tokens.onChange(redisKeys)
    onChange(redisKeys?.map(tokenKeyOf) ?? null)
  }
  const tracking = new RedisInvalidations({ redis, clock, onChange: invalidate, log })
  return { tokens, close: () => tracking.close() }
}
