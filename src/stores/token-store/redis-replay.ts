import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import { secondsUntil } from '../../domain/lifetime.ts'
import { isSameScopes } from '../../domain/scope.ts'
import { isExpired, type TokenData, type TokenKey } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { slicesOf } from '../../lib/slices.ts'
import type {
  RecentChanges,
  RedisRunDatabase,
  ReplayedRow,
  ReplayedToken,
} from '../database/redis-run-database.ts'
import type { RunsInUse } from '../database/runs-in-use.ts'
import type { RedisGuard } from '../redis/heartbeat.ts'
import { type RedisServer, readServer } from '../redis/server.ts'
import { sideConnectionOptions } from '../redis/side-connection.ts'
import type { EncryptedRecords } from './encrypted-records.ts'
import { REDIS_PREFIX, REPLACE } from './redis-token-store.ts'

export interface RedisReplayDeps {
  readonly database: RedisRunDatabase
  readonly runs: RunsInUse
  /** Whether one Redis has all records; of a cluster, each master has some. */
  readonly isOnlyRun: boolean
  readonly records: EncryptedRecords
  readonly clock: Clock
  readonly log: Logger
  /** How much older than its last use the data of an unknown Redis may be, in seconds. */
  readonly windowSeconds: number
}

/** Pause before the next attempt while another process replays the history, in milliseconds. */
const BUSY_PAUSE_MS = 200

/** Minimum time between two writes of the time at which a Redis was last in use, in milliseconds. */
const NOTE_INTERVAL_MS = 60_000

/** Maximum time of one reply during a replay, in milliseconds. */
const REPLY_TIMEOUT_MS = 2_000

/** Records that are compared at the same time. */
const BATCH_SIZE = 500

/** Maximum number of attempts to change a record that another process changes at the same time. */
const MAX_ATTEMPTS = 5

/** Maximum number of token keys in a log line. */
const MAX_KEYS_IN_LOG = 20

/** Result of a replay. */
interface Tally {
  deleted: number
  edited: number
  /** Tokens with a row that have no record. */
  readonly lost: Set<TokenKey>
}

/**
 * Admits a Redis when it agrees with the history of tokens. A Redis that has restarted, or has replaced another one, may
 * have lost acknowledged changes: recent revocations, expiries and edits are applied to it again.
 */
export class RedisReplay implements RedisGuard {
  readonly #deps: RedisReplayDeps
  readonly #admittedAt = new Map<string, number>()
  readonly #leftAt = new Map<string, number>()
  readonly #notedAt = new Map<string, number>()
  #newest: Promise<string | undefined> | undefined

  constructor(deps: RedisReplayDeps) {
    this.#deps = deps
  }

  async admit(redis: Redis, server: RedisServer): Promise<void> {
    const { identity } = server
    // Changes that this process wrote to another Redis until it left that may be missing here.
    const leftAt = Math.max(...[...this.#leftAt].filter(([other]) => other !== identity).map(([, at]) => at))
    const admittedAt = this.#admittedAt.get(identity)
    if (server.mayEvict && admittedAt === undefined) {
      this.#deps.log.error(
        'Redis may evict records: set maxmemory-policy noeviction, or valid tokens will be refused',
      )
    }
    if (admittedAt === undefined || admittedAt < leftAt) await this.#bringUpToDate(redis, server, leftAt)
    this.#leftAt.delete(identity)
    this.#admittedAt.set(identity, this.#now())
    this.#notedAt.set(identity, this.#now())
  }

  enter({ identity }: RedisServer): void {
    this.#deps.runs.enter(identity)
  }

  note({ identity }: RedisServer): void {
    if (this.#now() - (this.#notedAt.get(identity) ?? 0) < NOTE_INTERVAL_MS) return
    this.#notedAt.set(identity, this.#now())
    this.#deps.database.note(identity).catch(() => undefined)
  }

  /** Does not keep a caller waiting that PostgreSQL does not reply to: nothing is known then. */
  async isReplaced({ identity }: RedisServer): Promise<boolean> {
    const { isOnlyRun, database } = this.#deps
    if (!isOnlyRun) return false
    this.#newest ??= database.findNewest().finally(() => {
      this.#newest = undefined
    })
    const newest = await this.#newest.catch(() => undefined)
    const isReplaced = newest !== undefined && newest !== identity
    if (isReplaced) this.#admittedAt.delete(identity)
    return isReplaced
  }

  leave({ identity }: RedisServer): void {
    this.#deps.runs.leave(identity)
    this.#leftAt.set(identity, this.#now())
  }

  async #bringUpToDate(redis: Redis, server: RedisServer, leftAt: number): Promise<void> {
    const { database, windowSeconds, isOnlyRun } = this.#deps
    for (;;) {
      const leftMs = Number.isFinite(leftAt) ? this.#now() - leftAt : undefined
      const outcome = await database.replay(
        server.identity,
        { leftMs, windowSeconds, isOnlyRun },
        (changes) => this.#applyAll(redis, server, changes),
      )
      if (outcome !== 'busy') return
      await delay(BUSY_PAUSE_MS, undefined, { ref: false })
    }
  }

  /** Uses a connection of its own, since commands on the main one wait until this is done. */
  async #applyAll(redis: Redis, server: RedisServer, { tokens, hold }: RecentChanges): Promise<void> {
    const tally: Tally = { deleted: 0, edited: 0, lost: new Set() }
    const link = redis
      .duplicate({ ...sideConnectionOptions(REPLY_TIMEOUT_MS), readOnly: false })
      .on('error', () => undefined)
    try {
      await link.connect()
      await requireServer(link, server)
      for await (const batch of tokens) {
        for (const slice of slicesOf(batch, BATCH_SIZE)) {
          const isDifferent = await Promise.all(slice.map((token) => this.#compare(link, token, tally)))
          for (const { key } of slice.filter((_token, index) => isDifferent[index])) {
            await this.#align(link, key, hold, tally)
          }
        }
      }
      await requireServer(link, server)
    } finally {
      link.disconnect()
    }
    this.#report(tally)
  }

  /** Deletes the record of a token without a row. Resolves with whether the record of an edited token differs from its row. */
  async #compare(link: Redis, { key, row, wasEdited }: ReplayedToken, tally: Tally): Promise<boolean> {
    if (!row) {
      if ((await ifStored(link.del(REDIS_PREFIX + key))) === 1) tally.deleted += 1
      return false
    }
    const value = await ifStored(link.get(REDIS_PREFIX + key))
    if (value === null && !isExpired(row, this.#deps.clock.now())) tally.lost.add(key)
    const data = wasEdited && value ? this.#read(key, value) : undefined
    return data !== undefined && !isSame(data, row)
  }

  /** Changes a record to agree with its row. An edit in progress writes the record after its commit, and so after this. */
  async #align(link: Redis, key: TokenKey, hold: RecentChanges['hold'], tally: Tally): Promise<void> {
    const { clock, records } = this.#deps
    const redisKey = REDIS_PREFIX + key
    const row = await hold(key)
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      const value = await ifStored(link.get(redisKey))
      const data = value ? this.#read(key, value) : undefined
      if (!row || !value || !data || isSame(data, row)) return
      const seconds = secondsUntil(row.expiresAt, clock.now())
      if (seconds <= 1) {
        await ifStored(link.del(redisKey))
        tally.deleted += 1
        return
      }
      const encrypted = records.encrypt({
        ...data,
        scopes: row.scopes,
        expiresAt: row.expiresAt,
      } as TokenData)
      const lifetime = row.expiresAt === null ? '' : seconds
      if ((await ifStored(link.eval(REPLACE, 1, redisKey, value, encrypted, lifetime))) === 1) {
        tally.edited += 1
        return
      }
    }
    throw new Error(`the record of token ${key} is being changed`)
  }

  #read(key: TokenKey, value: string): TokenData | undefined {
    const record = this.#deps.records.inspect(key, value)
    return record && 'data' in record ? record.data : undefined
  }

  #report({ deleted, edited, lost }: Tally): void {
    const { log } = this.#deps
    log.info({ deleted, edited }, 'applied recent history to Redis')
    if (lost.size === 0) return
    const tokenKeys = [...lost].slice(0, MAX_KEYS_IN_LOG)
    log.warn({ count: lost.size, tokenKeys }, 'tokens have no record: Redis has lost data')
  }

  #now(): number {
    return this.#deps.clock.monotonicMs()
  }
}

const isSame = (left: ReplayedRow, right: ReplayedRow): boolean =>
  isSameScopes(left.scopes, right.scopes) && left.expiresAt?.getTime() === right.expiresAt?.getTime()

/** Rejects unless `link` is a connection to this server. */
async function requireServer(link: Redis, { identity }: RedisServer): Promise<void> {
  const server = await readServer(link)
  if (!server.isMaster || server.identity !== identity) throw new Error('Redis has changed meanwhile')
}

/** Resolves with the reply; with `undefined` if the key belongs to another node of a cluster, or its value is no string. */
async function ifStored<T>(reply: Promise<T>): Promise<T | undefined> {
  try {
    return await reply
  } catch (error) {
    if (error instanceof Error && /^(MOVED|ASK|WRONGTYPE) /.test(error.message)) return undefined
    throw error
  }
}
