import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { PorthorError } from './errors.ts'

/** An address to search for, or a block of them, in the text form that PostgreSQL's `inet` reads. */
export interface AddressFilter {
  readonly isBlock: boolean
  readonly text: string
}

const BLOCK = /^(.+)\/(0|[1-9]\d*)$/

/**
 * Reads an IPv4 or IPv6 address, or a CIDR block (RFC 4632) with no bits set behind its prefix.
 *
 * @throws {PorthorError} `INVALID_IP_ADDRESS`
 */
export function parseAddressFilter(text: string): AddressFilter {
  if (isAddress(text)) return { isBlock: false, text }
  const [, base = '', prefix] = BLOCK.exec(text) ?? []
  if (!isAddress(base) || !ipaddr.isValidCIDR(text)) {
    throw invalid('ipAddress must be an IPv4 or IPv6 address, or a CIDR block such as 192.0.2.0/24.')
  }
  const address = ipaddr.parse(base)
  const family = address.kind() === 'ipv4' ? ipaddr.IPv4 : ipaddr.IPv6
  const network = family.networkAddressFromCIDR(text).toString()
  if (address.toString() === network) return { isBlock: true, text }
  throw invalid(
    `The block ${network}/${prefix} has no bits set behind its prefix: that is what it should be.`,
  )
}

// Zones are not for `inet`. ipaddr.js is not asked: it takes octal and hexadecimal digits, which `inet` does not.
const isAddress = (text: string): boolean => isIP(text) !== 0 && !text.includes('%')

const invalid = (message: string): PorthorError => new PorthorError('INVALID_IP_ADDRESS', message)
