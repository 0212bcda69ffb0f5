import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Redis } from 'ioredis'
import pg from 'pg'
import type { Logger } from 'pino'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { createLogger } from '../../../src/lib/logger.ts'
import { parsePostgresUrl } from '../../../src/lib/postgres-url.ts'
import { parseRedisUrl } from '../../../src/lib/redis-url.ts'
import { type Broadcast, openPostgresBroadcast } from '../../../src/stores/broadcast/broadcast.ts'
import { openRedisBroadcast } from '../../../src/stores/broadcast/redis-broadcast.ts'
import { openPool } from '../../../src/stores/database/prisma.ts'
import { openRedis } from '../../../src/stores/redis/client.ts'
import { recordingLog } from '../../support/checks/log.ts'
import { freshDatabase, freshRedis } from '../../support/stores/stores.ts'
import { openTcpProxy } from '../../support/stores/tcp-proxy.ts'

const CHANNEL = 'porthor_test'

/** Long enough on a busy machine; nothing is decided by it. */
const PATIENT = { timeout: 10_000 }

/** One of the two ways, on a store of its own. */
interface Medium {
  /** Joins as another process would. */
  readonly join: (channel?: string) => { broadcast: Broadcast; onMessage: ReturnType<typeof vi.fn> }
  /** The connections that listen. */
  readonly listeners: () => Promise<readonly unknown[]>
  /** Cuts the connections of all who listen. */
  readonly cut: () => Promise<unknown>
}

async function overRedis(): Promise<Medium> {
  const { url } = await freshRedis()
  const { log } = recordingLog()
  const observer = new Redis(url)
  onTestFinished(() => observer.disconnect())
  return {
    join: (channel = CHANNEL) => {
      const redis = openRedis(parseRedisUrl(url), log)
      const onMessage = vi.fn()
      const broadcast = openRedisBroadcast(redis, { channel, onMessage, log })
      onTestFinished(async () => {
        await broadcast.close()
        redis.disconnect()
      })
      return { broadcast, onMessage }
    },
    listeners: async () =>
      [...String(await observer.call('CLIENT', 'LIST', 'TYPE', 'pubsub')).matchAll(/\bid=\d+/g)].map(String),
    cut: () => observer.call('CLIENT', 'KILL', 'TYPE', 'pubsub'),
  }
}

async function overPostgres(): Promise<Medium> {
  const database = await freshDatabase()
  const { log } = recordingLog()
  const observer = new pg.Client(database.url)
  await observer.connect()
  onTestFinished(async () => {
    await observer.end()
    await database.drop()
  })
  const listeners = `FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %' AND state = 'idle'`
  return {
    join: (channel = CHANNEL) => {
      const pool = openPool(parsePostgresUrl(database.url), log, 1)
      const onMessage = vi.fn()
      const broadcast = openPostgresBroadcast(pool, parsePostgresUrl(database.url), {
        channel,
        onMessage,
        log,
      })
      onTestFinished(async () => {
        await broadcast.close()
        await pool.end()
      })
      return { broadcast, onMessage }
    },
    listeners: async () => (await observer.query(`SELECT pid ${listeners}`)).rows.map(({ pid }) => pid),
    cut: () => observer.query(`SELECT pg_terminate_backend(pid, 5000) ${listeners}`),
  }
}

describe.each([
  ['Redis', overRedis],
  ['PostgreSQL', overPostgres],
])('a broadcast over %s', (_name, openMedium) => {
  const untilListening = (medium: Medium, count: number) =>
    vi.waitFor(async () => expect(await medium.listeners()).toHaveLength(count), {
      ...PATIENT,
      interval: 10,
    })

  it('reaches every process, the sender included, once', async () => {
    const medium = await openMedium()
    const all = [medium.join(), medium.join(), medium.join()]
    await untilListening(medium, 3)
    await all[0]?.broadcast.send()
    await all[1]?.broadcast.send()

    for (const { onMessage } of all)
      await vi.waitFor(() => expect(onMessage).toHaveBeenCalledTimes(2), PATIENT)
  })

  it('is not received on another channel', async () => {
    const medium = await openMedium()
    const [ours, others] = [medium.join(), medium.join('another_channel')]
    await untilListening(medium, 2)
    await ours.broadcast.send()
    await others.broadcast.send()

    await vi.waitFor(() => expect(others.onMessage).toHaveBeenCalled(), PATIENT)
    await vi.waitFor(() => expect(ours.onMessage).toHaveBeenCalled(), PATIENT)
    expect([ours, others].map(({ onMessage }) => onMessage.mock.calls.length)).toEqual([1, 1])
  })

  it('is received again, and once, after the connection was lost, but not after it was closed', async () => {
    const medium = await openMedium()
    const [closed, { broadcast, onMessage }] = [medium.join(), medium.join()]
    await untilListening(medium, 2)
    await closed.broadcast.close()
    await untilListening(medium, 1)
    const [lost] = await medium.listeners()
    await medium.cut()
    await vi.waitFor(
      async () => {
        const found = await medium.listeners()
        expect(found).toHaveLength(1)
        expect(found).not.toContain(lost)
      },
      { ...PATIENT, interval: 10 },
    )
    await broadcast.send()
    await vi.waitFor(() => expect(onMessage).toHaveBeenCalled(), PATIENT)

    expect(onMessage).toHaveBeenCalledTimes(1)
    expect(closed.onMessage).not.toHaveBeenCalled()
  })

  it('leaves no listener when it is closed while it is opening', async () => {
    const medium = await openMedium()
    const { broadcast } = medium.join()
    await broadcast.close()
    const witness = medium.join()
    await untilListening(medium, 1)
    await witness.broadcast.close()

    await untilListening(medium, 0)
  })
})

it('a listener in PostgreSQL whose connection is lost without a close listens again on another one, and reports that messages may have been missed', async () => {
  const database = await freshDatabase()
  const cable = await openTcpProxy(database.url)
  const { log } = recordingLog()
  const pool = openPool(parsePostgresUrl(database.url), log, 1)
  const [onMessage, onMissed] = [vi.fn(), vi.fn()]
  const broadcast = openPostgresBroadcast(pool, parsePostgresUrl(cable.through(database.url)), {
    channel: CHANNEL,
    onMessage,
    onMissed,
    log,
  })
  onTestFinished(async () => {
    await broadcast.close()
    await cable.close()
    await pool.end()
    await database.drop()
  })
  const isHeard = () =>
    vi.waitFor(async () => {
      await broadcast.send()
      expect(onMessage).toHaveBeenCalled()
    }, PATIENT)
  await isHeard()
  expect(onMissed).not.toHaveBeenCalled()

  cable.forget('LISTEN')
  await vi.waitFor(() => expect(onMissed).toHaveBeenCalledTimes(1), PATIENT)
  onMessage.mockClear()
  await isHeard()
})

it('a listener in PostgreSQL is closed even if the network drops all packets', async () => {
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const { hostname, port } = new URL(database.url)
  let isSilent = false
  const ends: Socket[] = []
  const network = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect(Number(port), hostname)
    ends.push(near, far)
    near.on('error', () => undefined).on('data', (chunk) => isSilent || far.write(chunk))
    far.on('error', () => undefined).on('data', (chunk) => isSilent || near.write(chunk))
  }).listen(0, '127.0.0.1')
  await once(network, 'listening')
  onTestFinished(() => {
    network.close()
    for (const end of ends) end.destroy()
  })
  const url = new URL(database.url)
  url.port = String((network.address() as AddressInfo).port)
  const { log } = recordingLog()
  const pool = openPool(parsePostgresUrl(database.url), log, 1)
  onTestFinished(() => pool.end())
  const onMessage = vi.fn()
  const broadcast = openPostgresBroadcast(pool, parsePostgresUrl(url.href), {
    channel: CHANNEL,
    onMessage,
    log,
  })
  await vi.waitFor(async () => {
    await broadcast.send()
    expect(onMessage).toHaveBeenCalled()
  }, PATIENT)

  isSilent = true
  await broadcast.close()
})

describe('a broadcast whose store is unavailable', () => {
  /** A store that throws everybody out, and counts them. */
  async function openDoor() {
    let visits = 0
    const door = createServer((socket) => {
      visits += 1
      socket.resetAndDestroy()
    }).listen(0, '127.0.0.1')
    await once(door, 'listening')
    onTestFinished(() => void door.close())
    return { port: (door.address() as AddressInfo).port, visits: () => visits }
  }

  it.each([
    [
      'Redis',
      (port: number, log: Logger) => {
        const redis = openRedis(parseRedisUrl(`redis://127.0.0.1:${port}`), createLogger('silent'))
        onTestFinished(() => redis.disconnect())
        return openRedisBroadcast(redis, { channel: CHANNEL, onMessage: vi.fn(), log })
      },
    ],
    [
      'PostgreSQL',
      (port: number, log: Logger) => {
        const pool = openPool(parsePostgresUrl('postgresql://127.0.0.1:1/none'), log, 1)
        onTestFinished(() => pool.end())
        const url = `postgresql://127.0.0.1:${port}/none`
        return openPostgresBroadcast(pool, parsePostgresUrl(url), {
          channel: CHANNEL,
          onMessage: vi.fn(),
          log,
        })
      },
    ],
  ])('logs that once, however often it tries to connect to %s', async (_name, open) => {
    const { port, visits } = await openDoor()
    const { log, lines } = recordingLog()
    const broadcast = open(port, log)
    onTestFinished(broadcast.close)
    await vi.waitFor(() => expect(visits()).toBeGreaterThan(4), PATIENT)
    const logged = lines.map(({ msg, reason }) => `${msg}: ${reason}`)
    expect(logged).not.toEqual([])
    expect(new Set(logged).size).toBe(logged.length)
  })
})
