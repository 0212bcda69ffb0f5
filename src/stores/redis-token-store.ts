import type { Redis } from 'ioredis'
import { secondsUntil } from '../domain/lifetime.ts'
import { type TokenData, type TokenKey, toTokenKey } from '../domain/token.ts'
import type { Clock } from '../lib/clock.ts'
import type { SealedRecords } from './sealed-record.ts'
import type { StoredEntry, TokenStore } from './token-store.ts'
import { asking } from './unavailable.ts'

/** Every record's key begins so; shared with Gafaelfawr. */
export const REDIS_PREFIX = 'token:'

const redisKey = (key: TokenKey): string => REDIS_PREFIX + key

/** Commands sent at a time: enough to fill the wire, too few to make other requests wait. */
const BATCH = 500

/** Keys that Redis looks at for one step of a scan. */
const SCAN_COUNT = 1_000

/** Tokens in Redis, `token:<key>`, dropped by Redis itself when they end. */
export class RedisTokenStore implements TokenStore {
  readonly #redis: Redis
  readonly #records: SealedRecords
  readonly #clock: Clock

  constructor(deps: { readonly redis: Redis; readonly records: SealedRecords; readonly clock: Clock }) {
    this.#redis = deps.redis
    this.#records = deps.records
    this.#clock = deps.clock
  }

  async get(key: TokenKey): Promise<TokenData | undefined> {
    return this.#records.open(key, await asking('redis', () => this.#redis.get(redisKey(key))))
  }

  async put(data: TokenData): Promise<void> {
    const key = redisKey(data.token.key)
    const sealed = this.#records.seal(data)
    if (data.expiresAt === null) {
      await asking('redis', () => this.#redis.set(key, sealed))
      return
    }
    const seconds = secondsUntil(data.expiresAt, this.#clock.now())
    if (seconds <= 0) throw new RangeError(`token ${data.token.key} has expired and cannot be stored`)
    await asking('redis', () => this.#redis.set(key, sealed, 'EX', seconds))
  }

  async delete(keys: readonly TokenKey[]): Promise<void> {
    for (let start = 0; start < keys.length; start += BATCH) {
      const batch = keys.slice(start, start + BATCH)
      // One DEL a key, since the keys of one command must share a slot in Redis Cluster.
      await asking('redis', () => Promise.all(batch.map((key) => this.#redis.del(redisKey(key)))))
    }
  }

  async *scan(): AsyncIterable<readonly TokenKey[]> {
    let cursor = '0'
    do {
      const [next, keys] = await asking('redis', () =>
        this.#redis.scan(cursor, 'MATCH', `${REDIS_PREFIX}*`, 'COUNT', SCAN_COUNT),
      )
      cursor = next
      if (keys.length > 0) yield keys.map((key) => toTokenKey(key.slice(REDIS_PREFIX.length)))
    } while (cursor !== '0')
  }

  async inspect(keys: readonly TokenKey[]): Promise<ReadonlyMap<TokenKey, StoredEntry>> {
    const values = await asking('redis', () => Promise.all(keys.map((key) => this.#redis.get(redisKey(key)))))
    return this.#records.inspectAll(keys.map((key, index) => [key, values[index] ?? null]))
  }

  async sweep(): Promise<number> {
    return 0
  }

  async ping(): Promise<void> {
    await asking('redis', () => this.#redis.ping())
  }
}
