import { Redis } from 'ioredis'
import type { RedisUrl } from '../../lib/redis-url.ts'
import { serverOptionsOf } from './client.ts'
import { readServer } from './server.ts'

/** Redis refuses the credentials or the database of the URL, or commands that the token store needs. */
export class RedisSetupError extends Error {
  override readonly name = 'RedisSetupError'
}

/** A key that no token has. */
const NO_TOKEN = 'token:porthor-setup'

/** The commands of the token store, in forms that change nothing. */
const HARMLESS = [
  ['PING'],
  ['GET', NO_TOKEN],
  ['SET', NO_TOKEN, '', 'XX'],
  ['DEL', NO_TOKEN],
  ['EVAL', 'return 0', '1', NO_TOKEN],
  ['SCAN', '0', 'COUNT', '1'],
] as const

/** Errors about the user or the command. Errors about the state of Redis, which may change soon, are not among them. */
const REFUSAL =
  /^(WRONGPASS|NOAUTH|NOPERM|ERR (DB index|invalid DB index|AUTH|Client sent AUTH|unknown command))/

const MAY_EVICT =
  'it may delete records of valid tokens when its memory is full: set maxmemory-policy noeviction, or no maxmemory'

/**
 * Checks that the server of `url` accepts its credentials and commands. Passes if the server is unavailable, and for
 * a cluster: another of its nodes may respond differently.
 *
 * @param options.isEvictionRefused Whether a server that may delete records when its memory is full is refused too.
 * @returns Whether the server has executed the commands.
 * @throws {RedisSetupError} Its message quotes the error of Redis.
 */
export async function assertRedisUsable(
  target: RedisUrl,
  { isEvictionRefused = false }: { readonly isEvictionRefused?: boolean } = {},
): Promise<boolean> {
  if (target.kind === 'cluster') return false
  let isAvailable = false
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
    isAvailable = true
  } catch (error) {
    listen(error as Error)
  } finally {
    redis.disconnect()
  }
  if (refusals[0] !== undefined) {
    throw new RedisSetupError(`Redis cannot be used with REDIS_URL: ${refusals[0]}`)
  }
  return isAvailable
}
