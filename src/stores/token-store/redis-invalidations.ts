import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import type { Clock } from '../../lib/clock.ts'
import { OutageLog } from '../../lib/outage-log.ts'
import { type ConnectionWatch, sideConnectionOptions, watchConnections } from '../redis/side-connection.ts'
import { REDIS_PREFIX } from './redis-token-store.ts'

/** Where Redis tells a RESP2 client which keys have changed. */
const INVALIDATIONS = '__redis__:invalidate'

/**
 * How often the link is asked whether it is alive, and how long it may stay silent then, in
 * milliseconds. Together they bound how long a change can stay unnoticed when the network goes silent.
 */
export const PING_INTERVAL_MS = 1_000
export const SILENCE_MS = 900

/** A change unnoticed for longer than this, in milliseconds, would be one too many. */
export const LIVE_MS = PING_INTERVAL_MS + SILENCE_MS

/** How long to wait before the link is made again, in milliseconds. */
const RETRY_DELAY_MS = 250

export interface RedisInvalidationsDeps {
  readonly redis: Redis
  readonly clock: Clock
  /** These keys have changed; with `null`, any may have. */
  readonly onChange: (redisKeys: readonly string[] | null) => void
  readonly log: Logger
}

/** One moment by both clocks, in milliseconds. */
interface Moment {
  readonly wallMs: number
  readonly monotonicMs: number
}

interface Link {
  readonly subscriber: Redis
  readonly tracker: Redis
  /** Rejects when a connection is closed, that of the requests included: the next may lead elsewhere. */
  readonly whileOpen: ConnectionWatch['whileOpen']
  readonly close: () => void
}

/**
 * Hears from Redis which records have changed, by client tracking in broadcast mode: one connection
 * subscribes, another turns tracking on and has what it would be told sent to the first. Both lead to the
 * server that is asked for records, and are made anew whenever the connection to that is.
 *
 * @see https://redis.io/docs/latest/develop/reference/client-side-caching/
 */
export class RedisInvalidations {
  readonly #deps: RedisInvalidationsDeps
  readonly #closing = new AbortController()
  #link: Link | undefined
  #heardAt: Moment = { wallMs: Number.NEGATIVE_INFINITY, monotonicMs: Number.NEGATIVE_INFINITY }

  constructor(deps: RedisInvalidationsDeps) {
    this.#deps = deps
    void this.#run()
  }

  /**
   * Whether every change until two seconds ago at the latest has been received. Judged again at each call, since
   * timers may be late, and by both clocks: the monotonic one stands still while the machine is suspended, and the
   * other can be set.
   */
  get isLive(): boolean {
    if (this.#link === undefined) return false
    const { wallMs, monotonicMs } = this.#now()
    const sinceWall = wallMs - this.#heardAt.wallMs
    return sinceWall >= 0 && sinceWall < LIVE_MS && monotonicMs - this.#heardAt.monotonicMs < LIVE_MS
  }

  close(): void {
    this.#closing.abort()
    this.#drop()
  }

  async #run(): Promise<void> {
    const { log } = this.#deps
    const outage = new OutageLog(log)
    const { signal } = this.#closing
    while (!signal.aborted) {
      try {
        const link = await this.#open()
        log.info('tracking changes in Redis')
        outage.recovered()
        await this.#watch(link)
      } catch (error) {
        if (signal.aborted) return
        outage.report(error as Error, 'not tracking changes in Redis: asking it each time')
      } finally {
        this.#drop()
      }
      await delay(RETRY_DELAY_MS, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }

  async #open(): Promise<Link> {
    const link = this.#connect()
    try {
      const trackedAt = await link.whileOpen(this.#track(link))
      this.#closing.signal.throwIfAborted()
      this.#heardAt = trackedAt
    } catch (error) {
      link.close()
      throw error
    }
    this.#link = link
    return link
  }

  #connect(): Link {
    const { redis } = this.#deps
    // Redirected invalidations are messages of RESP2's publish and subscribe.
    const options = { ...sideConnectionOptions(SILENCE_MS), protocol: 2 } as const
    const [subscriber, tracker] = [redis.duplicate(options), redis.duplicate(options)]
    for (const connection of [subscriber, tracker]) connection.on('error', () => undefined)
    const { whileOpen, stop } = watchConnections([redis, subscriber, tracker])
    const close = () => {
      stop()
      subscriber.disconnect()
      tracker.disconnect()
    }
    return { subscriber, tracker, whileOpen, close }
  }

  /** Resolves with a moment from which on every change is heard of. */
  async #track({ subscriber, tracker }: Link): Promise<Moment> {
    await Promise.all([subscriber.connect(), tracker.connect()])
    await requireSameServer([this.#deps.redis, subscriber, tracker])
    const id = await subscriber.client('ID')
    subscriber.on('messageBuffer', (_channel, keys) => this.#hear(keys as unknown as Buffer[] | null))
    await subscriber.subscribe(INVALIDATIONS)
    const askedAt = this.#now()
    await tracker.client('TRACKING', 'ON', 'REDIRECT', id, 'BCAST', 'PREFIX', REDIS_PREFIX)
    return askedAt
  }

  /** Rejects when the link is lost. */
  async #watch({ subscriber, tracker, whileOpen }: Link): Promise<never> {
    for (;;) {
      const askedAt = this.#now()
      // The reply comes behind all that was sent before it: nothing older than the question is missing.
      await whileOpen(Promise.all([subscriber.ping(), tracker.ping()]))
      this.#heardAt = askedAt
      await whileOpen(delay(PING_INTERVAL_MS, undefined, { ref: false }))
    }
  }

  #now(): Moment {
    const { clock } = this.#deps
    return { wallMs: clock.now().getTime(), monotonicMs: clock.monotonicMs() }
  }

  #hear(keys: readonly Buffer[] | null): void {
    this.#deps.onChange(keys?.map((key) => key.toString()) ?? null)
  }

  #drop(): void {
    this.#link?.close()
    this.#link = undefined
    this.#deps.onChange(null)
  }
}

/**
 * Rejects unless all `connections` lead to the same run of the same server: during a failover each is told
 * of a master at a moment of its own, and who listens to another server hears nothing of ours.
 */
async function requireSameServer(connections: readonly Redis[]): Promise<void> {
  const infos = await Promise.all(connections.map((connection) => connection.info('server')))
  const [runId, ...others] = infos.map((info) => /^run_id:(\w+)/m.exec(info)?.[1])
  if (runId === undefined || others.some((other) => other !== runId)) {
    throw new Error('the connections do not lead to the same server')
  }
}
