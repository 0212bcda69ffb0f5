import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, type Redis } from 'ioredis'
import type { CommandFlow, RedisClient } from './commands.ts'
import { type RedisServer, readServer } from './server.ts'

/** How often a server is asked whether its connection is alive, in milliseconds. */
export const HEARTBEAT_MS = 1_000

/** How long to wait before a server is asked again that could not be admitted, in milliseconds. */
const ADMIT_AGAIN_MS = 250

/** Decides which servers' data can be used. */
export interface RedisGuard {
  /** Resolves when what the server that `redis` leads to holds is current. Rejects where that cannot be known now. */
  admit(redis: Redis, server: RedisServer): Promise<void>
  /** An admitted server gives a sign of life. */
  note(server: RedisServer): void
  /** The connection to an admitted server is closed. */
  leave(server: RedisServer): void
}

export interface HeartbeatDeps {
  readonly client: RedisClient
  readonly guard: RedisGuard | undefined
  /** Reports why a server is not used. */
  readonly report: (error: Error) => void
}

/**
 * Asks the server of each connection of `redis` once a second for a sign of life. Where it gives none, ioredis
 * leaves the connection (`socketTimeout`): also one that nobody uses, so that the next request finds one that works,
 * and a firewall sees no silence that it could take for the end. With a guard, a connection is used once its server
 * is admitted, and only for as long as that stays the same run and the master.
 */
export function keepAlive(redis: Redis, flow: CommandFlow, deps: HeartbeatDeps): void {
  redis.on('ready', () => void beat(redis, flow, deps))
}

async function beat(
  redis: Redis,
  flow: CommandFlow,
  { client, guard, report }: HeartbeatDeps,
): Promise<void> {
  const { connection } = flow
  let admitted: RedisServer | undefined
  redis.once('close', () => admitted && guard?.leave(admitted))

  const look = async (): Promise<void> => {
    if (!guard) return void (await redis.ping())
    const server = await readServer(redis)
    if (connection.isClosed) return
    if (!server.isMaster) {
      // Upon these words a cluster's client asks again who the master is, and sends the command there.
      if (client instanceof Cluster) return flow.refuse(connection, 'CLUSTERDOWN this node is a replica')
      return leave(redis, 'Redis is a replica: a master is required')
    }
    if (!connection.isAdmitted) {
      await guard.admit(redis, server)
      if (connection.isClosed) return
      admitted = server
      flow.admit(connection)
    } else if (server.identity !== admitted?.identity) {
      leave(redis, 'Redis has another replication history than before')
    } else {
      guard.note(server)
    }
  }
  while (!connection.isClosed) {
    await look().catch((error: Error) => {
      if (!connection.isClosed && !connection.isAdmitted) report(error)
    })
    await delay(connection.isAdmitted ? HEARTBEAT_MS : ADMIT_AGAIN_MS, undefined, { ref: false })
  }
}

/** At once, and without waiting for the replies that are still to come. */
const leave = (redis: Redis, reason: string): void => void redis.stream.destroy(new Error(reason))
