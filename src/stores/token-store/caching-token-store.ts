import { LRUCache } from 'lru-cache'
import { isExpired, type TokenData, type TokenKey, unsafeTokenKey } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { REDIS_PREFIX } from './redis-token-store.ts'
import type { StoredRecord, TokenRecord, TokenStore } from './token-store.ts'

export interface CachingTokenStoreDeps {
  readonly store: TokenStore
  readonly clock: Clock
  /** Maximum number of cache entries. */
  readonly size: number
  /** Whether invalidations are being received. If not, every read goes to the store. */
  readonly isLive: () => boolean
}

/** A record; without data while it is being fetched, so that an invalidation meanwhile can delete the entry. */
interface CacheEntry {
  data: TokenData | undefined
}

/**
 * A token store with a client-side cache. Redis invalidates the entry of each record that changes, and this process also
 * removes those that it changes itself.
 */
export class CachingTokenStore implements TokenStore {
  readonly #deps: CachingTokenStoreDeps
  readonly #entries: LRUCache<TokenKey, CacheEntry>

  constructor(deps: CachingTokenStoreDeps) {
    this.#deps = deps
    this.#entries = new LRUCache({ max: deps.size })
  }

  async find(
    key: TokenKey,
    { isFresh = false }: { readonly isFresh?: boolean } = {},
  ): Promise<TokenData | undefined> {
    if (isFresh || !this.#deps.isLive()) return this.#deps.store.find(key)
    const cached = this.#entries.get(key)?.data
    return cached ? this.#unlessExpired(cached) : this.#fetch(key)
  }

  findCopy(key: TokenKey): TokenData | undefined {
    const cached = this.#deps.isLive() ? this.#entries.get(key)?.data : undefined
    return cached && this.#unlessExpired(cached)
  }

  #unlessExpired(data: TokenData): TokenData | undefined {
    return isExpired(data, this.#deps.clock.now()) ? undefined : data
  }

  async #fetch(key: TokenKey): Promise<TokenData | undefined> {
    const { store } = this.#deps
    // An invalidation may arrive before the reply: it deletes this entry, so that the reply is not cached.
    const entry: CacheEntry = { data: undefined }
    // Cloned, since the key is a slice of a header, which would be kept in memory with it.
    this.#entries.set(structuredClone(key), entry)
    const data = await store.find(key).catch((error: unknown) => {
      if (this.#entries.peek(key) === entry) this.#entries.delete(key)
      throw error
    })
    if (this.#entries.peek(key) !== entry) return data
    if (data) entry.data = data
    else this.#entries.delete(key)
    return data
  }

  async put(data: TokenData): Promise<void> {
    const keys = [data.token.key]
    await this.#invalidating(keys, () => this.#deps.store.put(data))
  }

  findRecord(key: TokenKey): Promise<TokenRecord | undefined> {
    return this.#deps.store.findRecord(key)
  }

  async replace(record: TokenRecord, data: TokenData): Promise<void> {
    await this.#invalidating([data.token.key], () => this.#deps.store.replace(record, data))
  }

  async delete(keys: readonly TokenKey[]): Promise<void> {
    await this.#invalidating(keys, () => this.#deps.store.delete(keys))
  }

  scan(): AsyncIterable<readonly TokenKey[]> {
    return this.#deps.store.scan()
  }

  inspect(keys: readonly TokenKey[]): Promise<ReadonlyMap<TokenKey, StoredRecord>> {
    return this.#deps.store.inspect(keys)
  }

  sweep(): Promise<number> {
    return this.#deps.store.sweep()
  }

  ping(): Promise<void> {
    return this.#deps.store.ping()
  }

  /** Removes the entries of these keys of Redis; with `null`, all entries. */
  onChange(redisKeys: readonly string[] | null): void {
    if (!redisKeys) this.#entries.clear()
    for (const key of redisKeys ?? []) this.#entries.delete(unsafeTokenKey(key.slice(REDIS_PREFIX.length)))
  }

  /** Runs `change`. Removes the entries before it, and after it those that were fetched meanwhile. */
  async #invalidating(keys: readonly TokenKey[], change: () => Promise<void>): Promise<void> {
    for (const key of keys) this.#entries.delete(key)
    try {
      await change()
    } finally {
      for (const key of keys) this.#entries.delete(key)
    }
  }
}
