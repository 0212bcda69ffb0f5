import { Redis } from 'ioredis'
import type { Logger } from 'pino'

/** How long Redis may keep a request waiting, in milliseconds, connecting included. */
const COMMAND_TIMEOUT_MS = 2_000

/** Longest pause between two attempts to connect, in milliseconds: after a restart, no request waits longer. */
const LONGEST_RETRY_DELAY_MS = 500

/**
 * A connection to Redis that is made anew whenever it is lost. Commands wait for it at most two
 * seconds and then fail, so that an outage is an answer and not a queue.
 */
export function openRedis(url: string, log: Logger): Redis {
  const redis = new Redis(url, {
    commandTimeout: COMMAND_TIMEOUT_MS,
    connectTimeout: COMMAND_TIMEOUT_MS,
    maxRetriesPerRequest: null,
    retryStrategy: (attempt) => Math.min(50 * attempt, LONGEST_RETRY_DELAY_MS),
    connectionName: 'porthor',
  })
  redis.on('error', (error) => log.warn({ fault: error.message }, 'lost the connection to Redis'))
  redis.on('ready', () => log.info('connected to Redis'))
  return redis
}
