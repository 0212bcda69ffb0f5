import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { normalizeAddress } from '../lib/normalize-address.ts'
import { PorthorError } from './errors.ts'

/** An address to search for, or a block of them, in the text form that PostgreSQL's `inet` reads. */
export interface AddressFilter {
  readonly isBlock: boolean
  readonly text: string
}

const BLOCK = /^(.+)\/(0|[1-9]\d*)$/

/**
 * Reads an IPv4 or IPv6 address, or a CIDR block (RFC 4632) with no bits set behind its prefix. IPv4 mapped into
 * IPv6 is read as IPv4, the form that addresses are stored in.
 *
 * @throws {PorthorError} `INVALID_IP_ADDRESS`
 */
export function parseAddressFilter(text: string): AddressFilter {
  if (isAddress(text)) return { isBlock: false, text: normalizeAddress(text) }
  const [, base = '', prefix] = BLOCK.exec(text) ?? []
  if (!isAddress(base) || !ipaddr.isValidCIDR(text)) {
    throw invalid('ipAddress must be an IPv4 or IPv6 address, or a CIDR block such as 192.0.2.0/24.')
  }
  const address = ipaddr.parse(base)
  const family = address.kind() === 'ipv4' ? ipaddr.IPv4 : ipaddr.IPv6
  const network = family.networkAddressFromCIDR(text).toString()
  if (address.toString() === network)
    return { isBlock: true, text: toIPv4Block(base, Number(prefix)) ?? text }
  throw invalid(
    `The block ${network}/${prefix} has no bits set behind its prefix: that is what it should be.`,
  )
}

/** Bits of the prefix that all mapped IPv4 addresses share. */
const MAPPED_BITS = 96

function toIPv4Block(base: string, prefix: number): string | undefined {
  const address = normalizeAddress(base)
  return isIP(base) === 6 && isIP(address) === 4 && prefix >= MAPPED_BITS
    ? `${address}/${prefix - MAPPED_BITS}`
    : undefined
}

// Zones are not for `inet`. ipaddr.js is not asked: it takes octal and hexadecimal digits, which `inet` does not.
const isAddress = (text: string): boolean => isIP(text) !== 0 && !text.includes('%')

const invalid = (message: string): PorthorError => new PorthorError('INVALID_IP_ADDRESS', message)
