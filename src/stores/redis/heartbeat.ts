import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, type Redis } from 'ioredis'
import type { CommandFlow, RedisClient } from './commands.ts'
import { type RedisServer, readServer } from './server.ts'

/** Pause between two pings of a connection, in milliseconds. */
export const HEARTBEAT_MS = 1_000

/** Pause before the next attempt to admit a server, in milliseconds. */
const ADMIT_AGAIN_MS = 250

/** Decides whether the data of a server can be used. */
export interface RedisGuard {
  /** Resolves when the data of the server of `redis` are current. Rejects if that cannot be ensured now. */
  admit(redis: Redis, server: RedisServer): Promise<void>
  /** Called before the first command on a connection to an admitted server. */
  enter(server: RedisServer): void
  /** Called each time that an admitted server responds to a ping. */
  note(server: RedisServer): void
  /** Resolves with whether another server has replaced an admitted one. Never rejects. */
  isReplaced(server: RedisServer): Promise<boolean>
  /** Called when a connection that was entered is closed. */
  leave(server: RedisServer): void
}

export interface HeartbeatDeps {
  readonly client: RedisClient
  readonly guard: RedisGuard | undefined
  /** Reports why a server is not used. */
  readonly report: (error: Error) => void
}

/**
 * Pings the server of each connection of `redis` once a second. Without a reply, ioredis closes the connection
 * (`socketTimeout`), also an idle one, so that the next request finds one that works; and firewalls see no idle connection.
 * With a guard, a connection is used when its server is admitted, and only while that stays the same run and the master.
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
      // This message makes a cluster's client look up the master again, and send the command there.
      if (client instanceof Cluster) return flow.refuse(connection, 'CLUSTERDOWN this node is a replica')
      return leave(redis, 'Redis is a replica: a master is required')
    }
    if (!connection.isAdmitted) {
      await guard.admit(redis, server)
      if (connection.isClosed) return
      admitted = server
      guard.enter(server)
      flow.admit(connection)
    } else if (server.identity !== admitted?.identity) {
      leave(redis, 'Redis has another replication history than before')
    } else {
      guard.note(server)
      // Not awaited: pings go on while the database is slow.
      void guard.isReplaced(server).then((isReplaced) => {
        if (isReplaced && !connection.isClosed) leave(redis, 'another Redis is in use')
      })
    }
  }
  while (!connection.isClosed) {
    await look().catch((error: Error) => {
      if (!connection.isClosed && !connection.isAdmitted) report(error)
    })
    await delay(connection.isAdmitted ? HEARTBEAT_MS : ADMIT_AGAIN_MS, undefined, { ref: false })
  }
}

/** Closes the connection immediately, without waiting for outstanding replies. */
const leave = (redis: Redis, reason: string): void => void redis.stream.destroy(new Error(reason))
