import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, type Redis } from 'ioredis'
import pg from 'pg'
import type { Logger } from 'pino'
import { FaultLog } from '../lib/fault-log.ts'
import { CONNECT_TIMEOUT_MS } from './prisma.ts'
import type { RedisClient } from './redis.ts'
import { asking } from './unavailable.ts'

/** Tells every process of this installation, this one included, to do something once. */
export interface Broadcast {
  /** Resolves when the message is on its way. */
  send(): Promise<void>
  close(): Promise<void>
}

export interface BroadcastDeps {
  /** What all processes call the message; at most 63 characters of a-z, 0-9 and _. */
  readonly channel: string
  /** Runs in each process for each message. */
  readonly onMessage: () => void
  readonly log: Logger
}

/** How long to wait before subscribing again, in milliseconds. */
const RESUBSCRIBE_DELAY_MS = 500

/**
 * Over Redis publish and subscribe, on a connection of its own, which subscribes again when it was lost:
 * in a cluster to any of the nodes, for these pass messages on to each other.
 */
export function openRedisBroadcast(
  redis: RedisClient,
  { channel, onMessage, log }: BroadcastDeps,
): Broadcast {
  const closing = new AbortController()
  const { signal } = closing
  const faults = new FaultLog(log)
  const { subscriber, close } = redis instanceof Cluster ? ofCluster(redis, channel) : ofServer(redis, faults)
  subscriber.on('message', onMessage)

  const subscribe = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        await subscriber.subscribe(channel)
        return faults.pass()
      } catch (error) {
        if (!signal.aborted) faults.tell(error as Error, 'could not subscribe in Redis')
      }
      await delay(RESUBSCRIBE_DELAY_MS, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
  void subscribe()

  return {
    send: async () => {
      await asking('redis', () => redis.publish(channel, ''))
    },
    close: async () => {
      closing.abort()
      subscriber.off('message', onMessage)
      close()
    },
  }
}

interface Subscriber {
  readonly subscriber: RedisClient
  readonly close: () => void
}

/** A second connection, made anew with the first, so that it follows that to another master. */
function ofServer(redis: Redis, faults: FaultLog): Subscriber {
  const subscriber = redis.duplicate({ commandTimeout: undefined, maxRetriesPerRequest: null })
  subscriber
    .on('error', (error) => faults.tell(error, 'lost the subscription in Redis'))
    .on('ready', () => faults.pass())
  // While it is connecting, that would end it for good.
  const follow = () => {
    if (subscriber.status === 'ready') subscriber.disconnect(true)
  }
  redis.on('close', follow)
  return {
    subscriber,
    close: () => {
      redis.off('close', follow)
      subscriber.disconnect()
    },
  }
}

/** The connection that a cluster's client keeps for subscriptions, and moves when its node is lost. */
const ofCluster = (cluster: Cluster, channel: string): Subscriber => ({
  subscriber: cluster,
  close: () => void cluster.unsubscribe(channel).catch(() => undefined),
})

/** How long to wait before listening again, in milliseconds. */
const RELISTEN_DELAY_MS = 1_000

/** Over PostgreSQL LISTEN and NOTIFY, for installations without Redis. */
export function openPostgresBroadcast(
  pool: pg.Pool,
  databaseUrl: string,
  { channel, onMessage, log }: BroadcastDeps,
): Broadcast {
  let listener: pg.Client | undefined
  let retry: NodeJS.Timeout | undefined
  let isClosed = false
  const faults = new FaultLog(log)

  const listen = async (): Promise<void> => {
    const client = new pg.Client({
      connectionString: databaseUrl,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      application_name: 'porthor',
    })
    listener = client
    client.on('notification', onMessage)
    client.on('error', (error) => {
      if (!isClosed) faults.tell(error, 'lost the listener in PostgreSQL')
    })
    client.on('end', () => {
      if (!isClosed) retry = setTimeout(listen, RELISTEN_DELAY_MS).unref()
    })
    try {
      await client.connect()
      await client.query(`LISTEN ${client.escapeIdentifier(channel)}`)
      faults.pass()
    } catch (error) {
      if (!isClosed) faults.tell(error as Error, 'could not listen in PostgreSQL')
      await client.end().catch(() => undefined)
    }
  }
  void listen()

  return {
    send: async () => {
      await asking('postgres', () => pool.query('SELECT pg_notify($1, $2)', [channel, '']))
    },
    close: async () => {
      isClosed = true
      clearTimeout(retry)
      await listener?.end().catch(() => undefined)
    },
  }
}
