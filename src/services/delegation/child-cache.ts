import { LRUCache } from 'lru-cache'
import { type CacheKey, isSameCacheKey } from '../../domain/delegation.ts'
import type { Token, TokenKey } from '../../domain/token.ts'

/**
 * Tokens that were lent lately, the least recently used dropped first.
 *
 * Found by parent and service, and then by a look at those that are left, mostly one: to join a text of all
 * that makes up a key, and to hash it, would take as long as half of all the rest of a reuse.
 */
export class ChildCache {
  /** The keys that are in use. */
  readonly #keys = new Map<TokenKey, Map<string, readonly CacheKey[]>>()
  readonly #tokens: LRUCache<CacheKey, Token>

  /** @param max How many tokens to keep. */
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
    // The list of scopes may be the caller's own, and a key must not change. And texts were cut from a query,
    // all of which would be kept with them.
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
