import type pg from 'pg'
import type { Logger } from 'pino'
import { FaultLog } from '../lib/fault-log.ts'
import { createClient } from './postgres-client.ts'
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
  /** Runs when this process listens again after a while without: messages may have been missed. */
  readonly onMissed?: () => void
  readonly log: Logger
}

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
    const client = createClient(databaseUrl)
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
