import { secondsUntil } from '../../domain/lifetime.ts'
import { type TokenData, type TokenKey, unsafeTokenKey } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { slicesOf } from '../../lib/slices.ts'
import type { RedisClient } from '../redis/commands.ts'
import { openMasters, pingMasters } from '../redis/masters.ts'
import { ChangedMeanwhileError, callStore } from '../unavailable.ts'
import type { EncryptedRecords } from './encrypted-records.ts'
import { createCommand, RedisWrites } from './redis-writes.ts'
import type { StoredRecord, TokenRecord, TokenStore } from './token-store.ts'

/** Prefix of the key of every record, shared with Gafaelfawr. */
export const REDIS_PREFIX = 'token:'

const redisKey = (key: TokenKey): string => REDIS_PREFIX + key

/** Returns the token key in a key of Redis. */
export const tokenKeyOf = (key: string): TokenKey => unsafeTokenKey(key.slice(REDIS_PREFIX.length))

/** Commands sent at a time: enough for a high throughput, and too few to delay other requests. */
const BATCH_SIZE = 500

/** Keys that Redis examines in one step of a scan. */
const SCAN_COUNT = 1_000

/**
 * Script that replaces a value if it is the expected one. Arguments: expected value, new value, lifetime in seconds or an
 * empty string. Returns 1 if the value is the new one, also when ioredis sends the script again after a lost reply; else 0.
 */
export const REPLACE = `
  local value = redis.call('GET', KEYS[1])
  if value == ARGV[2] then return 1 end
  if value ~= ARGV[1] then return 0 end
  if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
  else redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
  return 1`

/** Replaces a value of Redis that is no string, such as a list. It cannot be decrypted, and so counts as damaged. */
const NOT_A_STRING = '(not a string)'

/**
 * Keeps tokens in Redis, under `token:<key>`. Redis deletes them when they expire. Each command has one key, since several
 * keys must share a slot in Redis Cluster.
 */
export class RedisTokenStore implements TokenStore {
  readonly #redis: RedisClient
  readonly #writes: RedisWrites
  readonly #records: EncryptedRecords
  readonly #clock: Clock

  constructor(deps: {
    readonly redis: RedisClient
    /** Sends the commands that change records. Default: `redis` sends them, without waiting for replicas. */
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
    const encrypted = this.#records.encrypt(data)
    const seconds = this.#lifetimeOf(data)
    const lifetime = seconds === null ? [] : ['EX', seconds]
    await callStore('redis', () => this.#writes.send([createCommand('set', key, encrypted, ...lifetime)]))
  }

  async findRecord(key: TokenKey): Promise<TokenRecord | undefined> {
    return this.#records.decryptRecord(key, await callStore('redis', () => this.#read(key)))
  }

  async replace({ encrypted }: TokenRecord, data: TokenData): Promise<void> {
    const key = redisKey(data.token.key)
    const args = [encrypted, this.#records.encrypt(data), this.#lifetimeOf(data) ?? '']
    const [replaced] = await callStore('redis', () =>
      this.#writes.send([createCommand('eval', REPLACE, 1, key, ...args)]),
    )
    if (replaced !== 1) throw new ChangedMeanwhileError('redis', data.token.key)
  }

  async delete(keys: readonly TokenKey[]): Promise<void> {
    for (const batch of slicesOf(keys, BATCH_SIZE)) {
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
          if (keys.length > 0) yield keys.map((key) => unsafeTokenKey(key.slice(REDIS_PREFIX.length)))
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

  /** Returns the remaining lifetime in seconds; `null` for a token that never expires. */
  #lifetimeOf({ token, expiresAt }: TokenData): number | null {
    if (expiresAt === null) return null
    const seconds = secondsUntil(expiresAt, this.#clock.now())
    if (seconds <= 0) throw new RangeError(`token ${token.key} has expired and cannot be stored`)
    return seconds
  }
}
