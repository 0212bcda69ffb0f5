import { secondsUntil } from '../../domain/lifetime.ts'
import { type TokenData, type TokenKey, toTokenKey } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { slicesOf } from '../../lib/slices.ts'
import type { RedisClient } from '../redis/commands.ts'
import { openMasters, pingMasters } from '../redis/masters.ts'
import { ChangedMeanwhileError, callStore } from '../unavailable.ts'
import type { EncryptedRecords } from './encrypted-records.ts'
import { createCommand, RedisWrites } from './redis-writes.ts'
import type { StoredRecord, TokenRecord, TokenStore } from './token-store.ts'

/** Every record's key begins so; shared with Gafaelfawr. */
export const REDIS_PREFIX = 'token:'

const redisKey = (key: TokenKey): string => REDIS_PREFIX + key

/** The token whose record a key of Redis names. */
export const tokenKeyOf = (key: string): TokenKey => toTokenKey(key.slice(REDIS_PREFIX.length))

/** Commands sent at a time: enough to fill the wire, too few to make other requests wait. */
const BATCH = 500

/** Keys that Redis looks at for one step of a scan. */
const SCAN_COUNT = 1_000

/**
 * Answers whether the value was what it was thought to be, and so was replaced; or has been so, where the answer was
 * lost and ioredis asks again. With no life, it never ends.
 */
export const REPLACE = `
  local value = redis.call('GET', KEYS[1])
  if value == ARGV[2] then return 1 end
  if value ~= ARGV[1] then return 0 end
  if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
  else redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
  return 1`

/** Stands for a value of Redis that is no string, such as a list: no record reads so. */
const NOT_A_STRING = '(not a string)'

/**
 * Tokens in Redis, `token:<key>`, dropped by Redis itself when they end. Each command is for one key, since
 * those of several would have to share a slot in Redis Cluster.
 */
export class RedisTokenStore implements TokenStore {
  readonly #redis: RedisClient
  readonly #writes: RedisWrites
  readonly #records: EncryptedRecords
  readonly #clock: Clock

  constructor(deps: {
    readonly redis: RedisClient
    /** What changes records goes this way, where that is another. */
    readonly writes?: RedisWrites
    readonly records: EncryptedRecords
    readonly clock: Clock
  }) {
    this.#redis = deps.redis
    this.#writes = deps.writes ?? new RedisWrites(deps.redis, 0)
    this.#records = deps.records
    this.#clock = deps.clock
  }

  async find(key: TokenKey): Promise<TokenData | undefined> {
    return this.#records.decrypt(key, await callStore('redis', () => this.#read(key)))
  }

  async put(data: TokenData): Promise<void> {
    const key = redisKey(data.token.key)
    const sealed = this.#records.encrypt(data)
    const seconds = this.#lifeOf(data)
    const life = seconds === null ? [] : ['EX', seconds]
    await callStore('redis', () => this.#writes.send([createCommand('set', key, sealed, ...life)]))
  }

  async findRecord(key: TokenKey): Promise<TokenRecord | undefined> {
    return this.#records.decryptRecord(key, await callStore('redis', () => this.#read(key)))
  }

  async replace({ encrypted: sealed }: TokenRecord, data: TokenData): Promise<void> {
    const key = redisKey(data.token.key)
    const args = [sealed, this.#records.encrypt(data), this.#lifeOf(data) ?? '']
    const [replaced] = await callStore('redis', () =>
      this.#writes.send([createCommand('eval', REPLACE, 1, key, ...args)]),
    )
    if (replaced !== 1) throw new ChangedMeanwhileError('redis', data.token.key)
  }

  async delete(keys: readonly TokenKey[]): Promise<void> {
    for (const batch of slicesOf(keys, BATCH)) {
      await callStore('redis', () =>
        this.#writes.send(batch.map((key) => createCommand('del', redisKey(key)))),
      )
    }
  }

  async *scan(): AsyncIterable<readonly TokenKey[]> {
    const masters = await callStore('redis', () => openMasters(this.#redis))
    try {
      for (const { redis } of masters) {
        let cursor = '0'
        do {
          const [next, keys] = await callStore('redis', () =>
            redis.scan(cursor, 'MATCH', `${REDIS_PREFIX}*`, 'COUNT', SCAN_COUNT),
          )
          cursor = next
          if (keys.length > 0) yield keys.map((key) => toTokenKey(key.slice(REDIS_PREFIX.length)))
        } while (cursor !== '0')
      }
    } finally {
      for (const { close } of masters) close()
    }
  }

  async inspect(keys: readonly TokenKey[]): Promise<ReadonlyMap<TokenKey, StoredRecord>> {
    const values = await callStore('redis', () => Promise.all(keys.map((key) => this.#read(key))))
    return this.#records.inspectAll(keys.map((key, index) => [key, values[index] ?? null]))
  }

  async sweep(): Promise<number> {
    return 0
  }

  async ping(): Promise<void> {
    await callStore('redis', () => pingMasters(this.#redis))
  }

  async #read(key: TokenKey): Promise<string | null> {
    try {
      return await this.#redis.get(redisKey(key))
    } catch (error) {
      if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return NOT_A_STRING
      throw error
    }
  }

  /** In seconds; `null` for a token that never ends. */
  #lifeOf({ token, expiresAt }: TokenData): number | null {
    if (expiresAt === null) return null
    const seconds = secondsUntil(expiresAt, this.#clock.now())
    if (seconds <= 0) throw new RangeError(`token ${token.key} has expired and cannot be stored`)
    return seconds
  }
}
