import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, type Redis } from 'ioredis'
import { OutageLog } from '../../lib/outage-log.ts'
import type { RedisClient } from '../redis/commands.ts'
import { sideConnectionOptions, watchConnections } from '../redis/side-connection.ts'
import { callStore } from '../unavailable.ts'
import type { Broadcast, BroadcastDeps } from './broadcast.ts'

/**
 * How often the server is asked whether the subscription is alive, and how long it may take to reply, in
 * milliseconds: a network that swallows everything closes no connection.
 */
export const PING_INTERVAL_MS = 1_000
export const SILENCE_MS = 1_500

/** How long to wait before subscribing again, in milliseconds. */
const RESUBSCRIBE_DELAY_MS = 250

/**
 * Over Redis publish and subscribe, on a connection of its own, which is opened again when it is lost: in a cluster
 * to any of the nodes, for these pass messages on to each other.
 */
export function openRedisBroadcast(
  redis: RedisClient,
  { channel, onMessage, onMissed, log }: BroadcastDeps,
): Broadcast {
  const closing = new AbortController()
  const { signal } = closing
  const outage = new OutageLog(log)
  let close = (): void => undefined

  /** Rejects when the subscription is lost, or could not be made. */
  const listen = async (wasLost: boolean): Promise<never> => {
    const subscriber = openSubscriber(redis)
    const { whileOpen, stop } = watchConnections(
      redis instanceof Cluster ? [subscriber] : [redis, subscriber],
    )
    close = () => {
      stop()
      subscriber.off('message', onMessage)
      subscriber.disconnect()
    }
    try {
      subscriber.on('message', onMessage)
      await whileOpen(subscriber.connect())
      await whileOpen(subscriber.subscribe(channel))
      signal.throwIfAborted()
      if (wasLost) onMissed?.()
      outage.recovered()
      for (;;) {
        await whileOpen(delay(PING_INTERVAL_MS, undefined, { ref: false }))
        await whileOpen(subscriber.ping())
      }
    } finally {
      close()
    }
  }
  const run = async (): Promise<void> => {
    for (let wasLost = false; !signal.aborted; wasLost = true) {
      await listen(wasLost).catch((error: Error) => {
        if (!signal.aborted) outage.report(error, 'lost the subscription in Redis')
      })
      await delay(RESUBSCRIBE_DELAY_MS, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
  void run()

  return {
    send: async () => {
      await callStore('redis', () => redis.publish(channel, ''))
    },
    close: async () => {
      closing.abort()
      close()
    },
  }
}

function openSubscriber(redis: RedisClient): Redis {
  const node = redis instanceof Cluster ? anyOf(redis.nodes('master')) : redis
  if (!node) throw new Error('no node of the cluster is known')
  return node
    .duplicate({ ...sideConnectionOptions(SILENCE_MS), readOnly: false })
    .on('error', () => undefined)
}

const anyOf = <T>(items: readonly T[]): T | undefined => items[Math.floor(Math.random() * items.length)]
