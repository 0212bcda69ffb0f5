import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import proxyaddr from 'proxy-addr'

const MAPPED_IPV4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/**
 * An address as others know it: an IPv4 address that arrived through an IPv6 socket as the IPv4 address it
 * is, and a link-local one without the zone (RFC 4007), which names a network card of this machine.
 */
const normalize = (address: string): string =>
  address.includes(':') ? (MAPPED_IPV4.exec(address)?.[1] ?? address.replace(/%.*$/, '')) : address

/**
 * A function that tells a request's client address: the rightmost address of the chain, peer last,
 * that is not a trusted proxy's. `X-Forwarded-For` is read only where the peer itself is trusted, so
 * that a direct caller cannot make one up; entries of it that are no plain IP address are left out.
 *
 * @param trustedProxies Addresses and CIDR blocks.
 * @returns `undefined` where the peer is not known (its socket is closed).
 */
export function clientAddress(
  trustedProxies: readonly string[],
): (request: Pick<IncomingMessage, 'headers' | 'socket'>) => string | undefined {
  const isTrusted = proxyaddr.compile([...trustedProxies])
  return ({ headers, socket }) => {
    const peer = socket.remoteAddress && normalize(socket.remoteAddress)
    if (!peer) return undefined
    const forwarded = headers['x-forwarded-for']
    if (!forwarded || trustedProxies.length === 0) return peer
    const chain = String(forwarded)
      .split(',')
      .map((entry) => normalize(entry.trim()))
      .filter((entry) => isIP(entry) !== 0)
    const hops = [...chain, peer]
    return hops.findLast((hop, index) => !isTrusted(hop, index)) ?? hops[0]
  }
}
