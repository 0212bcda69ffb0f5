import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, vi } from 'vitest'
import {
  findFreePort,
  onServer,
  type RedisProcess,
  startRedis,
  startRedisServer,
  untilReplicated,
} from './redis.ts'
import { openTcpProxy, type TcpProxy } from './tcp-proxy.ts'

/** A master and its replica, and a Sentinel that watches over them. */
export interface WatchedRedis {
  /** `redis+sentinel://`; the master's name is `tokens`. */
  readonly url: string
  readonly master: RedisProcess
  readonly replica: RedisProcess
  readonly sentinel: RedisProcess
  /** The way to the master, for clients, the replica and the Sentinel; a direct one unless it is asked for. */
  readonly way: TcpProxy | undefined
  stop(): Promise<void>
}

/** A server that is silent for as long, in milliseconds, is taken for dead. */
const DOWN_AFTER_MS = 300

/** How long the three may take to know each other, in milliseconds. */
const MEET_TIMEOUT_MS = 10_000

/** @param options.hasWay Has a proxy lead to the master: it is as busy as the test, and so may seem dead. */
export async function startWatchedRedis({ hasWay = false } = {}): Promise<WatchedRedis> {
  const dir = await mkdtemp(join(tmpdir(), 'porthor-sentinel-'))
  const running: RedisProcess[] = []
  let closeWay: TcpProxy['close'] | undefined
  const started = async (process: Promise<RedisProcess>): Promise<RedisProcess> => {
    running.push(await process)
    return process
  }
  const stop = async () => {
    await Promise.all(running.map((process) => process.kill()))
    await closeWay?.()
    await rm(dir, { recursive: true, force: true })
  }
  try {
    const args = ['--repl-diskless-sync-delay', '0']
    const master = await started(startRedis({ args }))
    const way = hasWay ? await openTcpProxy(master.url) : undefined
    closeWay = way?.close
    const { port: masterPort } = way ?? master
    const replica = await started(
      startRedis({ args: [...args, '--replicaof', '127.0.0.1', String(masterPort)] }),
    )
    const port = await findFreePort()
    const file = join(dir, 'sentinel.conf')
    await untilReplicated(master, replica)
    const config = [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${dir}`,
      `sentinel monitor tokens 127.0.0.1 ${masterPort} 1`,
      `sentinel down-after-milliseconds tokens ${DOWN_AFTER_MS}`,
      'sentinel failover-timeout tokens 2000',
    ]
    await writeFile(file, `${config.join('\n')}\n`)
    const sentinel = await started(startRedisServer(port, [file, '--sentinel']))
    await vi.waitFor(
      async () => {
        const replicas = await onServer(port, (redis) => redis.call('SENTINEL', 'REPLICAS', 'tokens'))
        expect(replicas).toHaveLength(1)
      },
      { timeout: MEET_TIMEOUT_MS, interval: 20 },
    )
    return { url: `redis+sentinel://127.0.0.1:${port}/tokens`, master, replica, sentinel, way, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
