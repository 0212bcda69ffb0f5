import { Redis } from 'ioredis'
import { parseRedisUrl } from '../../lib/redis-url.ts'
import { serverOptionsOf } from './client.ts'
import { readServer } from './server.ts'

/** Redis lets nobody in by this URL, or not to do what the token store does. */
export class RedisSetupError extends Error {
  override readonly name = 'RedisSetupError'
}

/** A key that no token has. */
const NO_TOKEN = 'token:porthor-setup'

/** What the token store sends, so that it does nothing: there is no such key. */
const HARMLESS = [
  ['PING'],
  ['GET', NO_TOKEN],
  ['SET', NO_TOKEN, '', 'XX'],
  ['DEL', NO_TOKEN],
  ['EVAL', 'return 0', '1', NO_TOKEN],
  ['SCAN', '0', 'COUNT', '1'],
] as const

/** What Redis says of who asks or what is asked, and not of its own state, which may be another soon. */
const REFUSAL =
  /^(WRONGPASS|NOAUTH|NOPERM|ERR (DB index|invalid DB index|AUTH|Client sent AUTH|unknown command))/

const MAY_EVICT =
  'it may delete records when its memory is full, each of which is a valid token: set maxmemory-policy noeviction, or no maxmemory'

/**
 * Sees that the server, if it answers at all, can be used by `url`: it would refuse later what it refuses now.
 * A cluster is not asked, nor a Sentinel, of which another may answer.
 *
 * @param options.isEvictionRefused Whether it may not be one that deletes records when its memory is full.
 * @throws {RedisSetupError} with the words of Redis.
 */
export async function assertRedisUsable(
  url: string,
  { isEvictionRefused = false }: { readonly isEvictionRefused?: boolean } = {},
): Promise<void> {
  const target = parseRedisUrl(url)
  if (target.kind === 'cluster') return
  const refusals: string[] = []
  const listen = ({ message }: Error): void => {
    if (REFUSAL.test(message)) refusals.push(message)
  }
  const redis = new Redis({
    ...serverOptionsOf(target),
    lazyConnect: true,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    sentinelRetryStrategy: () => null,
  }).on('error', listen)
  try {
    await redis.connect()
    for (const [command, ...args] of HARMLESS) await redis.call(command, ...args)
    if (isEvictionRefused && (await readServer(redis)).mayEvict) refusals.push(MAY_EVICT)
  } catch (error) {
    listen(error as Error)
  } finally {
    redis.disconnect()
  }
  if (refusals[0] !== undefined) {
    throw new RedisSetupError(`Redis cannot be used by REDIS_URL: ${refusals[0]}`)
  }
}
