import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { CommandFlow } from './redis-commands.ts'

/** How often a server is asked whether its connection is alive, in milliseconds. */
const HEARTBEAT_MS = 1_000

/**
 * Asks the server once a second for a sign of life. Where it gives none, ioredis leaves the connection
 * (`socketTimeout`): also one that nobody uses, so that the next request finds one that works, and a firewall sees no
 * silence that it could take for the end.
 */
export function keepAlive(redis: Redis, flow: CommandFlow): void {
  redis.on('ready', () => void beat(redis, flow))
}

async function beat(redis: Redis, flow: CommandFlow): Promise<void> {
  const { connection } = flow
  while (!connection.isClosed) {
    await redis.ping().catch(() => undefined)
    await delay(HEARTBEAT_MS, undefined, { ref: false })
  }
}
