import { readFile } from 'node:fs/promises'
import type { Redis } from 'ioredis'
import type pg from 'pg'
import { systemClock } from '../src/lib/clock.ts'
import type { Server } from './server.ts'

/** Values at the end of a minute. Memory is in MB, in the order of the servers. */
export interface Minute {
  readonly minute: number
  /** Responses per second. */
  readonly rate: number
  readonly outcomes: Readonly<Record<string, number>>
  readonly rss: readonly number[]
  /** Minimum in the minute. */
  readonly heap: readonly number[]
  readonly tokens: number
  readonly lineage: number
  readonly history: number
  readonly redisKeys: number
  readonly redisMemory: number
}

/** Time between two samples of the heap, in milliseconds. */
const HEAP_INTERVAL_MS = 5_000

const MB = 2 ** 20

/** Counts outcomes, and samples all values once a minute. */
export class Recorder {
  readonly minutes: Minute[] = []
  readonly #deps: { readonly servers: readonly Server[]; readonly pool: pg.Pool; readonly redis: Redis }
  #outcomes: Record<string, number> = {}
  #heaps: number[][] = []
  #since = 0
  #timer: NodeJS.Timeout | undefined

  constructor(deps: { readonly servers: readonly Server[]; readonly pool: pg.Pool; readonly redis: Redis }) {
    this.#deps = deps
  }

  start(): void {
    this.#since = systemClock.monotonicMs()
    this.#timer = setInterval(() => void this.#sampleHeaps(), HEAP_INTERVAL_MS)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  readonly count = (outcome: string): void => {
    this.#outcomes[outcome] = (this.#outcomes[outcome] ?? 0) + 1
  }

  /** Ends a minute and begins the next. */
  async minute(minute: number): Promise<Minute> {
    const { servers, pool, redis } = this.#deps
    await this.#sampleHeaps()
    const outcomes = this.#outcomes
    const heaps = this.#heaps
    const now = systemClock.monotonicMs()
    const responses = Object.values(outcomes).reduce((sum, count) => sum + count, 0)
    const rate = responses / ((now - this.#since) / 1000)
    this.#outcomes = {}
    this.#heaps = []
    this.#since = now
    const { rows } = await pool.query<Record<'tokens' | 'lineage' | 'history', number>>(
      `SELECT (SELECT count(*)::int FROM token) AS tokens, (SELECT count(*)::int FROM subtoken) AS lineage,
              (SELECT count(*)::int FROM token_change_history) AS history`,
    )
    const [counts] = rows
    if (!counts) throw new Error('PostgreSQL returned no counts')
    const taken: Minute = {
      minute,
      rate,
      outcomes,
      rss: await Promise.all(servers.map(({ pid }) => rssOf(pid))),
      heap: servers.map((_, index) => Math.min(...heaps.map((heap) => heap[index] ?? Number.NaN))),
      ...counts,
      redisKeys: await redis.dbsize(),
      redisMemory: Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]) / MB,
    }
    this.minutes.push(taken)
    return taken
  }

  async #sampleHeaps(): Promise<void> {
    this.#heaps.push(await Promise.all(this.#deps.servers.map(heapOf)))
  }
}

/** Returns the resident memory of a process, in MB. */
async function rssOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024
}

/** Returns the used heap of the server from its metrics, in MB. */
async function heapOf(server: Server): Promise<number> {
  const metrics = await server.read('/metrics')
  return Number(/^nodejs_heap_size_used_bytes (\S+)/m.exec(metrics)?.[1]) / MB
}
