import { LRUCache } from 'lru-cache'
import { isExpired, type TokenData, type TokenKey, toTokenKey } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { REDIS_PREFIX } from './redis-token-store.ts'
import type { StoredRecord, TokenRecord, TokenStore } from './token-store.ts'

export interface CachingTokenStoreDeps {
  readonly store: TokenStore
  readonly clock: Clock
  /** How many copies to keep. */
  readonly size: number
  /** Whether changes are heard of now. While they are not, every question goes to the store. */
  readonly isLive: () => boolean
}

/** A copy; or, while it is fetched, an empty place for it, which a change takes away. */
interface Place {
  data: TokenData | undefined
}

/**
 * A token store with copies of what it was asked for, kept for as long as its Redis says of every
 * change. What this process changes itself it forgets at once.
 */
export class CachingTokenStore implements TokenStore {
  readonly #deps: CachingTokenStoreDeps
  readonly #places: LRUCache<TokenKey, Place>

  constructor(deps: CachingTokenStoreDeps) {
    this.#deps = deps
    this.#places = new LRUCache({ max: deps.size })
  }

  async find(
    key: TokenKey,
    { isFresh = false }: { readonly isFresh?: boolean } = {},
  ): Promise<TokenData | undefined> {
    if (isFresh || !this.#deps.isLive()) return this.#deps.store.find(key)
    const copy = this.#places.get(key)?.data
    return copy ? this.#ifLive(copy) : this.#fetch(key)
  }

  findCopy(key: TokenKey): TokenData | undefined {
    const copy = this.#deps.isLive() ? this.#places.get(key)?.data : undefined
    return copy && this.#ifLive(copy)
  }

  #ifLive(data: TokenData): TokenData | undefined {
    return isExpired(data, this.#deps.clock.now()) ? undefined : data
  }

  async #fetch(key: TokenKey): Promise<TokenData | undefined> {
    const { store } = this.#deps
    // Word of a change may overtake the reply: it then finds the place and takes it away.
    const place: Place = { data: undefined }
    // Under a text of its own: the key was cut from a header, all of which would be kept with it.
    this.#places.set(structuredClone(key), place)
    const data = await store.find(key).catch((error: unknown) => {
      if (this.#places.peek(key) === place) this.#places.delete(key)
      throw error
    })
    if (this.#places.peek(key) !== place) return data
    if (data) place.data = data
    else this.#places.delete(key)
    return data
  }

  async put(data: TokenData): Promise<void> {
    const keys = [data.token.key]
    await this.#forgetting(keys, () => this.#deps.store.put(data))
  }

  findRecord(key: TokenKey): Promise<TokenRecord | undefined> {
    return this.#deps.store.findRecord(key)
  }

  async replace(entry: TokenRecord, data: TokenData): Promise<void> {
    await this.#forgetting([data.token.key], () => this.#deps.store.replace(entry, data))
  }

  async delete(keys: readonly TokenKey[]): Promise<void> {
    await this.#forgetting(keys, () => this.#deps.store.delete(keys))
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

  /** Forgets the copies of what has changed: these keys of Redis, or with `null` any. */
  onChange(redisKeys: readonly string[] | null): void {
    if (!redisKeys) this.#places.clear()
    for (const key of redisKeys ?? []) this.#places.delete(toTokenKey(key.slice(REDIS_PREFIX.length)))
  }

  /** Before, so that nothing fetched earlier is kept; after, so that nothing fetched meanwhile is. */
  async #forgetting(keys: readonly TokenKey[], change: () => Promise<void>): Promise<void> {
    for (const key of keys) this.#places.delete(key)
    try {
      await change()
    } finally {
      for (const key of keys) this.#places.delete(key)
    }
  }
}
