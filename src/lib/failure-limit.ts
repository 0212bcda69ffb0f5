import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { LRUCache } from 'lru-cache'

export interface FailureLimitDeps {
  /** Maximum failures of one source per minute; 0 for no limit. */
  readonly perMinute: number
  /** Maximum number of sources that are kept: those that failed last. */
  readonly maxSources: number
  /** Reads a monotonic clock, in milliseconds. */
  readonly now: () => number
}

/** Remaining failures of a source, and the time at which that was computed. */
interface Allowance {
  left: number
  at: number
}

const MINUTE_MS = 60_000

/** Parts of an IPv6 address that are its network (RFC 4291 2.5.4): the owner of a network has all its addresses. */
const NETWORK_PARTS = 4

const networkOf = (address: string): string =>
  isIP(address) === 6 ? ipaddr.IPv6.parse(address).parts.slice(0, NETWORK_PARTS).join(':') : address

/** Limits failures per source, by token buckets. A source is an IPv4 address or a /64 network of IPv6. */
export class FailureLimit {
  readonly #deps: FailureLimitDeps
  readonly #allowances: LRUCache<string, Allowance>

  constructor(deps: FailureLimitDeps) {
    this.#deps = deps
    this.#allowances = new LRUCache({ max: deps.maxSources })
  }

  /** Whether `address` has reached its limit. */
  isOver(address: string): boolean {
    // Every request comes here, and few sources have failures.
    return this.#allowances.size > 0 && this.#leftOf(networkOf(address)) < 1
  }

  /** Counts a failure. Returns whether `address` has reached its limit with it. */
  note(address: string): boolean {
    const { perMinute, now } = this.#deps
    if (perMinute === 0) return false
    const source = networkOf(address)
    const left = this.#leftOf(source)
    this.#allowances.set(source, { left: Math.max(0, left - 1), at: now() })
    return left >= 1 && left < 2
  }

  /** Returns the whole seconds until `address` is below its limit. */
  retryAfterSeconds(address: string): number {
    const missing = 1 - this.#leftOf(networkOf(address))
    return Math.max(1, Math.ceil((missing * 60) / this.#deps.perMinute))
  }

  #leftOf(source: string): number {
    const { perMinute, now } = this.#deps
    const allowance = this.#allowances.get(source)
    if (!allowance) return perMinute
    const elapsed = Math.max(0, now() - allowance.at)
    return Math.min(perMinute, allowance.left + (elapsed * perMinute) / MINUTE_MS)
  }
}
