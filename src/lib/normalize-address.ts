import ipaddr from 'ipaddr.js'

const DOTTED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/**
 * An address in the one form that it is stored and searched in: an IPv4 address that is mapped into IPv6
 * (RFC 4291 2.5.5.2) as the IPv4 address that it is, and a link-local one without its zone (RFC 4007), which
 * names a network card of this machine.
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
