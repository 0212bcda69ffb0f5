import { LRUCache } from 'lru-cache'
import { type CacheKey, isSameCacheKey } from '../../domain/delegation.ts'
import type { Token, TokenKey } from '../../domain/token.ts'

/**
 * Cache of delegated tokens. It drops the least recently used one first.
 *
 * A look-up is by parent and service, and then compares the few keys that are left: joining and hashing a text of the
 * whole key would take half as long as the rest of a reuse.
 */
export class ChildCache {
  /** Keys of the cache entries, by parent and service. */
  readonly #keys = new Map<TokenKey, Map<string, readonly CacheKey[]>>()
  readonly #tokens: LRUCache<CacheKey, Token>

  /** @param max Maximum number of tokens. */
  constructor(max: number) {
    this.#tokens = new LRUCache({
      max,
      dispose: (_token, key, reason) => {
        if (reason !== 'set') this.#drop(key)
      },
    })
  }

  get size(): number {
    return this.#tokens.size
  }

  get(key: CacheKey): Token | undefined {
    const kept = this.#find(key)
    return kept && this.#tokens.get(kept)
  }

  set(key: CacheKey, token: Token): void {
    this.#tokens.set(this.#find(key) ?? this.#add(key), token)
  }

  clear(): void {
    this.#keys.clear()
    this.#tokens.clear()
  }

  #find(key: CacheKey): CacheKey | undefined {
    return this.#keys
      .get(key.parentKey)
      ?.get(key.service)
      ?.find((each) => isSameCacheKey(each, key))
  }

  #add(key: CacheKey): CacheKey {
    // The caller may change its list of scopes, and a key must not change. A text that was cut from a query would keep the
    // whole query in memory.
    const kept = structuredClone(key)
    const services = this.#keys.get(kept.parentKey) ?? new Map<string, readonly CacheKey[]>()
    services.set(kept.service, [...(services.get(kept.service) ?? []), kept])
    this.#keys.set(kept.parentKey, services)
    return kept
  }

  #drop(key: CacheKey): void {
    const services = this.#keys.get(key.parentKey)
    const others = services?.get(key.service)?.filter((each) => each !== key) ?? []
    if (others.length > 0) services?.set(key.service, others)
    else services?.delete(key.service)
    if (services?.size === 0) this.#keys.delete(key.parentKey)
  }
}
