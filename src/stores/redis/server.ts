import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'

/** A Redis server, as its `INFO` describes it. */
export interface RedisServer {
  /** Names its run and its replication history: while both stay the same, it loses nothing that it has acknowledged. */
  readonly identity: string
  readonly isMaster: boolean
  /** Whether it may delete records when its memory is full. */
  readonly mayEvict: boolean
}

/** Reads the description of the server of `redis`. */
export async function readServer(redis: Redis): Promise<RedisServer> {
  const sections = ['server', 'replication', 'memory'] as const
  const info = (await Promise.all(sections.map((section) => redis.info(section)))).join('\n')
  const find = (field: string): string | undefined => new RegExp(`^${field}:(\\S+)`, 'm').exec(info)?.[1]
  const [run, history] = [find('run_id'), find('master_replid')]
  return {
    // A service that names neither counts as another server each time.
    identity: run === undefined && history === undefined ? randomUUID() : `${run}/${history}`,
    isMaster: (find('role') ?? 'master') === 'master',
    mayEvict: Number(find('maxmemory') ?? 0) > 0 && (find('maxmemory_policy') ?? NO_EVICTION) !== NO_EVICTION,
  }
}

const NO_EVICTION = 'noeviction'
