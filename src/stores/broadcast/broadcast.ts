import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import type { Logger } from 'pino'
import { OutageLog } from '../../lib/outage-log.ts'
import type { PostgresUrl } from '../../lib/postgres-url.ts'
import { createClient } from '../database/postgres-client.ts'
import { withinMs } from '../deadline.ts'
import { callStore } from '../unavailable.ts'

/** Sends a message to every process of this installation, including this one. */
export interface Broadcast {
  /** Resolves when the store has accepted the message. */
  send(): Promise<void>
  close(): Promise<void>
}

export interface BroadcastDeps {
  /** Name of the channel, equal in all processes; at most 63 characters of a-z, 0-9 and _. */
  readonly channel: string
  /** Runs in each process for each message. */
  readonly onMessage: () => void
  /** Runs when this process listens again after an interruption: messages may have been missed. */
  readonly onMissed?: () => void
  readonly log: Logger
}

/**
 * Pause between two pings of the listener, and maximum time of a reply, in milliseconds: a network that drops all packets
 * closes no connection.
 */
export const PING_INTERVAL_MS = 1_000
export const SILENCE_MS = 2_000

/** Pause before listening again, in milliseconds. */
const RELISTEN_DELAY_MS = 1_000

/**
 * Opens a broadcast over LISTEN and NOTIFY of PostgreSQL, for installations without Redis. It has a connection of its own,
 * and opens another when that is lost.
 */
export function openPostgresBroadcast(
  pool: pg.Pool,
  databaseUrl: PostgresUrl,
  { channel, onMessage, onMissed, log }: BroadcastDeps,
): Broadcast {
  const closing = new AbortController()
  const { signal } = closing
  const outage = new OutageLog(log)
  let listener: pg.Client | undefined

  /** Rejects when the listener is lost, or cannot be opened. */
  const listen = async (wasLost: boolean): Promise<never> => {
    const client = createClient(databaseUrl)
    listener = client
    client.on('notification', onMessage)
    try {
      await client.connect()
      // Also the ping: repeating LISTEN has no effect while the connection is open.
      const renew = () =>
        withinMs(SILENCE_MS, () => client.query(`LISTEN ${client.escapeIdentifier(channel)}`))
      await renew()
      signal.throwIfAborted()
      if (wasLost) onMissed?.()
      outage.recovered()
      for (;;) {
        await untilEnd(client, PING_INTERVAL_MS)
        await renew()
      }
    } finally {
      client.off('notification', onMessage)
      // Not waited for: a silent server does not close the connection.
      void client.end().catch(() => undefined)
    }
  }
  const run = async (): Promise<void> => {
    for (let wasLost = false; !signal.aborted; wasLost = true) {
      await listen(wasLost).catch((error: Error) => {
        if (!signal.aborted) outage.report(error, 'lost the listener in PostgreSQL')
      })
      await delay(RELISTEN_DELAY_MS, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
  void run()

  return {
    send: async () => {
      await callStore('postgres', () => pool.query('SELECT pg_notify($1, $2)', [channel, '']))
    },
    close: async () => {
      closing.abort()
      await listener?.end().catch(() => undefined)
    },
  }
}

/** Resolves after `timeMs`, or when the connection ends. Rejects with the error that ends it. */
async function untilEnd(client: pg.Client, timeMs: number): Promise<void> {
  const pause = AbortSignal.timeout(timeMs)
  await once(client, 'end', { signal: pause }).catch((error: unknown) => {
    if (!pause.aborted) throw error
  })
}
