import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, type Redis } from 'ioredis'
import { OutageLog } from '../../lib/outage-log.ts'
import type { RedisClient } from '../redis/commands.ts'
import { sideConnectionOptions, watchConnections } from '../redis/side-connection.ts'
import { callStore } from '../unavailable.ts'
import type { Broadcast, BroadcastDeps } from './broadcast.ts'

/**
 * Pause between two pings of the subscription, and maximum time of a reply, in milliseconds: a network that drops all
 * packets closes no connection.
 */
export const PING_INTERVAL_MS = 1_000
export const SILENCE_MS = 1_500

/** Pause before subscribing again, in milliseconds. */
const RESUBSCRIBE_DELAY_MS = 250

/**
 * Opens a broadcast over publish and subscribe of Redis. It has a connection of its own, and opens another when that is
 * lost: in a cluster to any node, since the nodes forward messages to each other.
 */
export function openRedisBroadcast(
  redis: RedisClient,
  { channel, onMessage, onMissed, log }: BroadcastDeps,
): Broadcast {
  const closing = new AbortController()
  const { signal } = closing
  const outage = new OutageLog(log)
  let close = (): void => undefined

  /** Rejects when the subscription is lost, or cannot be opened. */
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
