import ipaddr from 'ipaddr.js'

const DOTTED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/**
 * Returns an address in the form in which it is stored and searched: an IPv4 address that is mapped into IPv6 (RFC 4291,
 * section 2.5.5.2) as IPv4, and a link-local address without its zone (RFC 4007), which names a local network interface.
 *
 * @param address An IPv4 or IPv6 address.
 */
export function normalizeAddress(address: string): string {
  if (!address.includes(':')) return address
  const dotted = DOTTED.exec(address)?.[1]
  if (dotted !== undefined) return dotted
  const plain = address.replace(/%.*$/, '')
  if (!/^[0:]+:ffff:/i.test(plain)) return plain
  const parsed = ipaddr.IPv6.parse(plain)
  return parsed.isIPv4MappedAddress() ? parsed.toIPv4Address().toString() : plain
}
