import { Cluster, type Redis } from 'ioredis'
import { UnavailableError } from '../../domain/errors.ts'
import type { RedisClient } from './commands.ts'

/** A connection to one of the servers among which the records are divided. */
export interface OpenMaster {
  readonly redis: Redis
  readonly close: () => void
}

/** @see https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ */
const SLOTS = 16_384

/**
 * Returns a connection to every server that holds records: the only server, or all masters of a cluster. These have
 * connections of their own, since a cluster's client forgets a node that it has lost.
 *
 * @throws {UnavailableError} Some slots have no master, so that records would be missing.
 */
export async function openMasters(redis: RedisClient): Promise<OpenMaster[]> {
  if (!(redis instanceof Cluster)) return [{ redis, close: () => undefined }]
  const ranges = await redis.cluster('SLOTS')
  const addresses = new Map<string, { readonly host: string; readonly port: number }>()
  let covered = 0
  for (const [first, last, master] of ranges) {
    if (!master?.[0]) continue
    const [host, port] = master
    addresses.set(`${host}:${port}`, { host, port })
    covered += last - first + 1
  }
  const [node] = redis.nodes()
  if (covered < SLOTS || !node) throw new UnavailableError('redis', new Error('slots without a master'))
  return [...addresses.values()].map((address) => {
    const master = node.duplicate({ ...address, readOnly: false })
    master.on('error', () => undefined)
    return { redis: master, close: () => master.disconnect() }
  })
}

/**
 * Resolves when every master responds.
 *
 * @throws {UnavailableError} A cluster does not serve all of its slots.
 */
export async function pingMasters(redis: RedisClient): Promise<void> {
  if (!(redis instanceof Cluster)) {
    await redis.ping()
    return
  }
  const [info] = await Promise.all([
    redis.cluster('INFO'),
    ...redis.nodes('master').map((master) => master.ping()),
  ])
  const isWhole = [/^cluster_state:ok\r?$/m, /^cluster_slots_ok:16384\r?$/m].every((line) => line.test(info))
  if (!isWhole) throw new UnavailableError('redis', new Error('the cluster does not serve all of its slots'))
}
