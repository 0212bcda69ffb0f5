import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, vi } from 'vitest'
import { findFreePort, onServer, type RedisProcess, startRedis } from './redis.ts'
import { openTcpProxy, type TcpProxy } from './tcp-proxy.ts'

/** Three masters, and a replica of the first, as processes. */
export interface RedisCluster {
  /** `redis+cluster://`, by way of the second and third master. */
  readonly url: string
  /** The masters as they were made, and then the replica. */
  readonly nodes: readonly RedisProcess[]
  /** The way to each of the nodes, for clients and for the replica; none unless they are asked for. */
  readonly ways: readonly TcpProxy[]
  /** Starts all anew that were killed: each is empty, and what it was, unless another took its place. */
  revive(): Promise<void>
  /** Resolves when all nodes agree that all slots are served. */
  untilWhole(): Promise<void>
  /** Ends all, and removes what they kept. */
  stop(): Promise<void>
}

/** How long the nodes may take to agree, in milliseconds. */
const AGREE_TIMEOUT_MS = 20_000

/** Where nothing else is asked for, in milliseconds. */
const NODE_TIMEOUT_MS = 700

/** First and last slot of each master. */
const SLOTS = [
  [0, 5_460],
  [5_461, 10_922],
  [10_923, 16_383],
] as const

interface Place {
  readonly port: number
  /** Where the nodes talk among themselves: not 10,000 above the other, which may be no port at all. */
  readonly bus: number
  readonly way: TcpProxy | undefined
}

/**
 * @param options.nodeTimeoutMs After such a silence the others take a node for dead, in milliseconds.
 * @param options.hasWays Has a proxy lead to each node.
 */
export async function startRedisCluster({
  nodeTimeoutMs = NODE_TIMEOUT_MS,
  hasWays = false,
} = {}): Promise<RedisCluster> {
  const dir = await mkdtemp(join(tmpdir(), 'porthor-cluster-'))
  const places: Place[] = []
  const nodes: RedisProcess[] = []
  const start = async (): Promise<void> => {
    for (const [index, { port, bus, way }] of places.entries()) {
      if (nodes[index] && (await answers(port))) continue
      const files = ['--dir', dir, '--cluster-config-file', `nodes-${index}.conf`]
      const bounds = ['--cluster-node-timeout', String(nodeTimeoutMs), '--repl-diskless-sync-delay', '0']
      const announced = [
        '--cluster-announce-port',
        String(way?.port ?? port),
        '--cluster-announce-bus-port',
        String(bus),
      ]
      const own = ['--cluster-enabled', 'yes', '--cluster-port', String(bus), ...announced]
      const args = [...own, ...files, ...bounds]
      nodes[index] = await startRedis({ port, args })
    }
  }
  const untilWhole = () =>
    agree(async () => {
      for (const { port } of places) {
        const info = await onServer(port, (redis) => redis.cluster('INFO'))
        expect(info).toContain('cluster_state:ok')
        expect(info).toContain('cluster_slots_ok:16384')
        expect(info).toContain('cluster_known_nodes:4')
      }
    })
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.kill()))
    await Promise.all(places.map(({ way }) => way?.close()))
    await rm(dir, { recursive: true, force: true })
  }
  try {
    while (places.length < 4) {
      const port = await findFreePort()
      const way = hasWays ? await openTcpProxy(`redis://127.0.0.1:${port}`) : undefined
      places.push({ port, bus: await findFreePort(), way })
    }
    await start()
    await joinAll(places)
    await untilWhole()
  } catch (error) {
    await stop()
    throw error
  }
  const [, second, third] = places.map(({ port, way }) => way?.port ?? port)
  return {
    url: `redis+cluster://127.0.0.1:${second},127.0.0.1:${third}`,
    nodes,
    ways: places.flatMap(({ way }) => way ?? []),
    revive: start,
    untilWhole,
    stop,
  }
}

/** What `redis-cli --cluster create` does, without its pauses. */
async function joinAll(places: readonly Place[]): Promise<void> {
  const [first, , , last] = places
  if (!first || !last) throw new Error('four places')
  for (const [index, { port }] of places.entries()) {
    await onServer(port, async (redis) => {
      await redis.cluster('SET-CONFIG-EPOCH', index + 1)
      if (index > 0) await redis.call('CLUSTER', 'MEET', '127.0.0.1', first.port, first.bus)
      const slots = SLOTS[index]
      if (slots) await redis.call('CLUSTER', 'ADDSLOTSRANGE', ...slots)
    })
  }
  const master = await onServer(first.port, (redis) => redis.call('CLUSTER', 'MYID'))
  await agree(() => onServer(last.port, (redis) => redis.call('CLUSTER', 'REPLICATE', String(master))))
  await agree(async () =>
    expect(await onServer(last.port, (redis) => redis.info('replication'))).toContain('link_status:up'),
  )
}

const agree = <T>(work: () => Promise<T>): Promise<T> =>
  vi.waitFor(work, { timeout: AGREE_TIMEOUT_MS, interval: 20 })

const answers = (port: number): Promise<boolean> =>
  onServer(port, (redis) => redis.ping()).then(
    () => true,
    () => false,
  )
