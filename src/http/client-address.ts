import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import proxyaddr from 'proxy-addr'
import { normalizeAddress } from '../lib/normalize-address.ts'

/** An IPv4 address with a port, or an IPv6 address in brackets with or without one, as some proxies write them. */
const WITH_PORT = /^(?:(\d+\.\d+\.\d+\.\d+):\d{1,5}|\[([^\]]+)\](?::\d{1,5})?)$/

/** Returns the address in one item of `X-Forwarded-For`; `undefined` where it is not an address. */
function parseEntry(entry: string): string | undefined {
  const [, ipv4, ipv6] = WITH_PORT.exec(entry) ?? []
  const address = ipv4 ?? ipv6 ?? entry
  const family = isIP(address)
  if (family === 0 || (ipv6 !== undefined && family !== 6)) return undefined
  return normalizeAddress(address)
}

/**
 * Returns a function that finds the client address of a request: the rightmost address of the chain, peer last, that
 * is not a trusted proxy's. `X-Forwarded-For` is read only where the peer itself is trusted, so that a direct caller
 * cannot forge it. The search stops at an item that is not an address: what is left of it may be forged.
 *
 * @param trustedProxies Addresses and CIDR blocks.
 * @returns A function that returns `undefined` where the socket is closed, and so the peer unknown.
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
