import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import proxyaddr from 'proxy-addr'
import { normalizeAddress } from './normalize-address.ts'

/** An IPv4 address with a port, or an IPv6 address in brackets with or without one, as some proxies write them. */
const WITH_PORT = /^(?:(\d+\.\d+\.\d+\.\d+):\d{1,5}|\[([^\]]+)\](?::\d{1,5})?)$/

/** The address in one entry of `X-Forwarded-For`; `undefined` where there is none to be read. */
function parseEntry(entry: string): string | undefined {
  const [, ipv4, ipv6] = WITH_PORT.exec(entry) ?? []
  const address = ipv4 ?? ipv6 ?? entry
  const family = isIP(address)
  if (family === 0 || (ipv6 !== undefined && family !== 6)) return undefined
  return normalizeAddress(address)
}

/**
 * A function that finds a request's client address: the rightmost address of the chain, peer last,
 * that is not a trusted proxy's. `X-Forwarded-For` is read only where the peer itself is trusted, so
 * that a direct caller cannot make one up. At an entry that cannot be read the search stops: what stands left of
 * it was written by whoever the trusted proxy could not name, and may be forged.
 *
 * @param trustedProxies Addresses and CIDR blocks.
 * @returns `undefined` where the peer is not known (its socket is closed).
 */
export function clientAddress(
  trustedProxies: readonly string[],
): (request: Pick<IncomingMessage, 'headers' | 'socket'>) => string | undefined {
  const isTrusted = proxyaddr.compile([...trustedProxies])
  return ({ headers, socket }) => {
    const peer = socket.remoteAddress && normalizeAddress(socket.remoteAddress)
    if (!peer) return undefined
    const forwarded = headers['x-forwarded-for']
    if (!forwarded || trustedProxies.length === 0) return peer
    let hop = peer
    for (const entry of String(forwarded).split(',').reverse()) {
      if (!isTrusted(hop, 0)) return hop
      const text = entry.trim()
      // RFC 9110 5.6.1.2: an empty element of a list counts for nothing.
      if (text === '') continue
      const address = parseEntry(text)
      if (address === undefined) return hop
      hop = address
    }
    return hop
  }
}
