import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import type { Clock } from '../../lib/clock.ts'
import { OutageLog } from '../../lib/outage-log.ts'
import { type ConnectionWatch, sideConnectionOptions, watchConnections } from '../redis/side-connection.ts'
import { REDIS_PREFIX } from './redis-token-store.ts'

/** Channel on which Redis sends a RESP2 client the keys that have changed. */
const INVALIDATIONS = '__redis__:invalidate'

/**
 * Pause between two pings, and maximum time of a reply, in milliseconds. Their sum limits how long a change can stay
 * unnoticed when the network drops all packets.
 */
export const PING_INTERVAL_MS = 1_000
export const SILENCE_MS = 900

/** Time after a ping for which the cache may be used, in milliseconds. */
export const LIVE_MS = PING_INTERVAL_MS + SILENCE_MS

/** Pause before the connections are opened again, in milliseconds. */
const RETRY_DELAY_MS = 250

export interface RedisInvalidationsDeps {
  readonly redis: Redis
  readonly clock: Clock
  /** Called when these keys have changed; with `null`, any key may have changed. */
  readonly onChange: (redisKeys: readonly string[] | null) => void
  readonly log: Logger
}

/** A time by both clocks, in milliseconds. */
interface Moment {
  readonly wallMs: number
  readonly monotonicMs: number
}

interface Connections {
  readonly subscriber: Redis
  readonly tracker: Redis
  /** Rejects when one of them or the connection of requests is closed: the next one may be to another server. */
  readonly whileOpen: ConnectionWatch['whileOpen']
  readonly close: () => void
}

/**
 * Receives from Redis which records have changed, by client tracking in broadcast mode: one connection subscribes, and
 * another turns tracking on and redirects its invalidations to the first. Both are to the server of the requests, and are
 * opened again whenever the connection of requests is.
 *
 * @see https://redis.io/docs/latest/develop/reference/client-side-caching/
 */
export class RedisInvalidations {
  readonly #deps: RedisInvalidationsDeps
  readonly #closing = new AbortController()
  #connections: Connections | undefined
  /** When the last ping was sent that Redis replied to. */
  #confirmedAt: Moment = { wallMs: Number.NEGATIVE_INFINITY, monotonicMs: Number.NEGATIVE_INFINITY }

  constructor(deps: RedisInvalidationsDeps) {
    this.#deps = deps
    void this.#run()
  }

  /**
   * Whether every change has been received that is older than two seconds. Computed at each call, since timers may be late,
   * and by both clocks: the monotonic one stops while the machine is suspended, and the other one can be set.
   */
  get isLive(): boolean {
    if (this.#connections === undefined) return false
    const { wallMs, monotonicMs } = this.#now()
    const sinceWall = wallMs - this.#confirmedAt.wallMs
    return sinceWall >= 0 && sinceWall < LIVE_MS && monotonicMs - this.#confirmedAt.monotonicMs < LIVE_MS
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
        const connections = await this.#open()
        log.info('client-side cache is on')
        outage.recovered()
        await this.#watch(connections)
      } catch (error) {
        if (signal.aborted) return
        outage.report(error as Error, 'client-side cache is off: Redis sends no invalidations')
      } finally {
        this.#drop()
      }
      await delay(RETRY_DELAY_MS, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }

  async #open(): Promise<Connections> {
    const connections = this.#create()
    try {
      const trackedAt = await connections.whileOpen(this.#track(connections))
      this.#closing.signal.throwIfAborted()
      this.#confirmedAt = trackedAt
    } catch (error) {
      connections.close()
      throw error
    }
    this.#connections = connections
    // What has changed since the last link was lost is unknown.
    this.#deps.onChange(null)
    return connections
  }

  #create(): Connections {
    const { redis } = this.#deps
    // RESP2, in which redirected invalidations are messages of publish and subscribe.
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

  /** Turns tracking on. Resolves with a time after which every change is received. */
  async #track({ subscriber, tracker }: Connections): Promise<Moment> {
    await Promise.all([subscriber.connect(), tracker.connect()])
    await requireSameServer([this.#deps.redis, subscriber, tracker])
    const id = await subscriber.client('ID')
    subscriber.on('messageBuffer', (_channel, keys) => this.#invalidate(keys as unknown as Buffer[] | null))
    await subscriber.subscribe(INVALIDATIONS)
    const sentAt = this.#now()
    await tracker.client('TRACKING', 'ON', 'REDIRECT', id, 'BCAST', 'PREFIX', REDIS_PREFIX)
    return sentAt
  }

  /** Pings both connections. Rejects when one of them is lost. */
  async #watch({ subscriber, tracker, whileOpen }: Connections): Promise<never> {
    for (;;) {
      const sentAt = this.#now()
      // The reply follows all earlier invalidations: no change before the ping is missing.
      await whileOpen(Promise.all([subscriber.ping(), tracker.ping()]))
      this.#confirmedAt = sentAt
      await whileOpen(delay(PING_INTERVAL_MS, undefined, { ref: false }))
    }
  }

  #now(): Moment {
    const { clock } = this.#deps
    return { wallMs: clock.now().getTime(), monotonicMs: clock.monotonicMs() }
  }

  #invalidate(keys: readonly Buffer[] | null): void {
    this.#deps.onChange(keys?.map((key) => key.toString()) ?? null)
  }

  #drop(): void {
    if (!this.#connections) return
    this.#connections.close()
    this.#connections = undefined
    this.#deps.onChange(null)
  }
}

/**
 * Rejects unless all `connections` are to the same run of the same server. During a failover they may be to different
 * servers, and then invalidations would be missing.
 */
async function requireSameServer(connections: readonly Redis[]): Promise<void> {
  const infos = await Promise.all(connections.map((connection) => connection.info('server')))
  const [runId, ...others] = infos.map((info) => /^run_id:(\w+)/m.exec(info)?.[1])
  if (runId === undefined || others.some((other) => other !== runId)) {
    throw new Error('the connections are to different servers')
  }
}
