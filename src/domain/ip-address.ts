import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { normalizeAddress } from '../lib/normalize-address.ts'
import { type ErrorFacts, PorthorError } from './errors.ts'

/** An address or block of addresses to search for, in the text form of PostgreSQL's `inet`. */
export interface AddressFilter {
  readonly isBlock: boolean
  readonly text: string
}

const BLOCK = /^(.+)\/(0|[1-9]\d*)$/

/**
 * Parses an IPv4 or IPv6 address, or a CIDR block (RFC 4632) without bits after its prefix. An IPv4 address mapped into
 * IPv6 becomes IPv4, the form in which addresses are stored.
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
    `ipAddress must not have bits set after the prefix of its CIDR block: use ${network}/${prefix}.`,
    { network: `${network}/${prefix}` },
  )
}

/** Length of the prefix that all mapped IPv4 addresses share, in bits. */
const MAPPED_BITS = 96

function toIPv4Block(base: string, prefix: number): string | undefined {
  const address = normalizeAddress(base)
  return isIP(base) === 6 && isIP(address) === 4 && prefix >= MAPPED_BITS
    ? `${address}/${prefix - MAPPED_BITS}`
    : undefined
}

// `inet` takes no zones. ipaddr.js is not used here: unlike `inet`, it takes octal and hexadecimal digits.
const isAddress = (text: string): boolean => isIP(text) !== 0 && !text.includes('%')

const invalid = (message: string, facts: ErrorFacts = {}): PorthorError =>
  new PorthorError('INVALID_IP_ADDRESS', message, { facts })
