import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { LRUCache } from 'lru-cache'

export interface FailureLimitDeps {
  /** How often one source may fail in a minute; 0 for as often as it likes. */
  readonly perMinute: number
  /** How many sources are remembered, of those that failed last. */
  readonly maxSources: number
  /** Milliseconds on a clock. */
  readonly now: () => number
}

/** How many failures a source has left, and when that was. */
interface Allowance {
  left: number
  at: number
}

const MINUTE_MS = 60_000

/** Parts of an IPv6 address that are its network (RFC 4291 2.5.4): whoever has one has all addresses in it. */
const NETWORK_PARTS = 4

const networkOf = (address: string): string =>
  isIP(address) === 6 ? ipaddr.IPv6.parse(address).parts.slice(0, NETWORK_PARTS).join(':') : address

/** Counts failures by where they come from: an IPv4 address, or a /64 network of IPv6. A token bucket for each. */
export class FailureLimit {
  readonly #deps: FailureLimitDeps
  readonly #allowances: LRUCache<string, Allowance>

  constructor(deps: FailureLimitDeps) {
    this.#deps = deps
    this.#allowances = new LRUCache({ max: deps.maxSources })
  }

  /** Whether `address` has failed so often that it may not fail again now. */
  isOver(address: string): boolean {
    // What every request passes, of which hardly any comes from where failures came from.
    return this.#allowances.size > 0 && this.#leftOf(networkOf(address)) < 1
  }

  /** Counts a failure. Answers whether it was the one that brought `address` over its limit. */
  note(address: string): boolean {
    const { perMinute, now } = this.#deps
    if (perMinute === 0) return false
    const source = networkOf(address)
    const left = this.#leftOf(source)
    this.#allowances.set(source, { left: Math.max(0, left - 1), at: now() })
    return left >= 1 && left < 2
  }

  /** Whole seconds until `address` may fail again. */
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
