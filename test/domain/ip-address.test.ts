import { isIP } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseAddressFilter } from '../../src/domain/ip-address.ts'
import { normalizeAddress } from '../../src/lib/normalize-address.ts'
import { failure } from '../support/checks/failures.ts'

describe('to search history, one may give', () => {
  it.each([
    ['an IPv4 address', '192.0.2.20', false],
    ['an IPv6 address', '2001:db8::20', false],
    ['an IPv6 address at full length', '2001:0db8:0000:0000:0000:0000:0000:0020', false],
    ['an IPv4 block', '192.0.2.0/24', true],
    ['a block of one address', '192.0.2.20/32', true],
    ['all of IPv4', '0.0.0.0/0', true],
    ['an IPv6 block', '2001:db8::/32', true],
    ['a block of one IPv6 address', '2001:db8::20/128', true],
  ])('%s', (_what, text, isBlock) => {
    expect(parseAddressFilter(text)).toEqual({ isBlock, text })
  })

  it.each([
    ['an address', '::ffff:192.0.2.20', { isBlock: false, text: '192.0.2.20' }],
    ['an address in hexadecimal', '0:0:0:0:0:FFFF:c000:214', { isBlock: false, text: '192.0.2.20' }],
    ['a block', '::ffff:192.0.2.0/120', { isBlock: true, text: '192.0.2.0/24' }],
    ['all of them', '::ffff:0:0/96', { isBlock: true, text: '0.0.0.0/0' }],
  ])('IPv4 mapped into IPv6, which is searched as it is stored: %s', (_what, text, filter) => {
    expect(parseAddressFilter(text)).toEqual(filter)
  })

  it('any address that there is', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        expect(parseAddressFilter(text)).toEqual({ isBlock: false, text: normalizeAddress(text) })
      }),
    )
  })
})

describe('to search history, one may not give', () => {
  it.each([
    ['nothing', ''],
    ['a name', 'localhost'],
    ['a short form', '127.1'],
    ['a number', '3221225492'],
    ['octal digits', '0300.0.2.20'],
    ['a leading zero', '192.0.02.20'],
    ['hexadecimal digits', '0xc0.0.2.20'],
    ['an octet too large', '192.0.2.256'],
    ['a zone', 'fe80::1%eth0'],
    ['a block in a zone', 'fe80::%eth0/64'],
    ['brackets', '[2001:db8::20]'],
    ['a port', '192.0.2.20:80'],
    ['white space', ' 192.0.2.20'],
    ['a line feed', '192.0.2.20\n'],
    ['a prefix too long', '192.0.2.0/33'],
    ['an IPv6 prefix too long', '2001:db8::/129'],
    ['no prefix behind the slash', '192.0.2.0/'],
    ['a mask', '192.0.2.0/255.255.255.0'],
    ['a negative prefix', '192.0.2.0/-1'],
    ['two prefixes', '192.0.2.0/24/24'],
    ['a short form of a block', '10/8'],
    ['octal digits in an IPv4 address mapped into IPv6', '::ffff:010.1.1.1'],
    ['hexadecimal digits in one', '::ffff:0x7f.1.1.1'],
    ['a prefix with a leading zero', '192.0.2.0/024'],
    ['two zeros for a prefix', '::/00'],
    ['a prefix with a sign', '192.0.2.0/+24'],
    ['a prefix and a space', '192.0.2.0/24 '],
    ['groups of five digits', '00001::'],
    ['two gaps', '1::2::3'],
    ['a NUL', '192.0.2.20\0'],
    ['SQL', "192.0.2.20'; --"],
  ])('%s', (_what, text) => {
    expect(() => parseAddressFilter(text)).toThrow(failure('INVALID_IP_ADDRESS'))
  })

  it.each([
    ['192.0.2.20/24', '192.0.2.0/24'],
    ['2001:db8::20/32', '2001:db8::/32'],
  ])('%s, as bits are set behind the prefix, with what it should be', (text, block) => {
    expect(() => parseAddressFilter(text)).toThrow(
      failure('INVALID_IP_ADDRESS', { message: expect.stringContaining(block) }),
    )
  })

  it('any text that is no address', () => {
    fc.assert(
      fc.property(
        fc.string().filter((text) => isIP(text) === 0 && !text.includes('/')),
        (text) => {
          expect(() => parseAddressFilter(text)).toThrow(failure('INVALID_IP_ADDRESS'))
        },
      ),
    )
  })
})
