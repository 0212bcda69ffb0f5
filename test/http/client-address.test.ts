import type { IncomingMessage } from 'node:http'
import { isIP, type Socket } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { clientAddress } from '../../src/http/client-address.ts'

const PROXIES = ['10.0.0.0/8', '192.168.7.7', '2001:db8:1::/48']

function addressOf(peer: string | undefined, forwarded: string | undefined, trusted = PROXIES) {
  const request: Pick<IncomingMessage, 'headers' | 'socket'> = {
    headers: { ...(forwarded !== undefined && { 'x-forwarded-for': forwarded }) },
    socket: { remoteAddress: peer } as Socket,
  }
  return clientAddress(trusted)(request)
}

describe('behind trusted proxies, the client is', () => {
  it.each([
    ['the one address forwarded', '10.0.0.1', '192.0.2.20', '192.0.2.20'],
    [
      'the rightmost address that is no proxy',
      '10.0.0.1',
      '198.51.100.1, 192.0.2.20, 10.0.0.2',
      '192.0.2.20',
    ],
    [
      'the rightmost, whatever the client made up on its left',
      '10.0.0.1',
      '10.9.9.9, 192.0.2.20',
      '192.0.2.20',
    ],
    ['the leftmost, where all are proxies', '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['the peer, where nothing was forwarded', '10.0.0.1', undefined, '10.0.0.1'],
    ['the peer, where the header is empty', '10.0.0.1', '', '10.0.0.1'],
    ['the peer, where no entry is an address', '10.0.0.1', 'unknown, _hidden', '10.0.0.1'],
    ['found behind a proxy of one address', '192.168.7.7', '192.0.2.20', '192.0.2.20'],
    ['found behind an IPv6 proxy', '2001:db8:1::1', '2001:db8:2::20', '2001:db8:2::20'],
    ['found in a chain of both families', '10.0.0.1', '2001:db8:2::20, 2001:db8:1::1', '2001:db8:2::20'],
    ['found through a socket that takes both families', '::ffff:10.0.0.1', '192.0.2.20', '192.0.2.20'],
    ['found without spaces between', '10.0.0.1', '198.51.100.1,192.0.2.20', '192.0.2.20'],
  ])('%s', (_what, peer, forwarded, client) => {
    expect(addressOf(peer, forwarded)).toBe(client)
  })
})

describe('an entry is read that', () => {
  it.each([
    ['has a port', '192.0.2.20:8080', '192.0.2.20'],
    ['is an IPv6 address with a port', '[2001:db8:2::20]:8080', '2001:db8:2::20'],
    ['is bracketed', '[2001:db8:2::20]', '2001:db8:2::20'],
    ['is IPv4 mapped into IPv6', '::ffff:192.0.2.20', '192.0.2.20'],
    ['is so in hexadecimal', '::ffff:c000:214', '192.0.2.20'],
    ['is so in full, with a port', '[0:0:0:0:0:FFFF:C000:0214]:443', '192.0.2.20'],
    ['is so, of a trusted proxy', '192.0.2.20, ::ffff:a00:9', '192.0.2.20'],
    ['comes before an empty one', '192.0.2.20, , ', '192.0.2.20'],
  ])('%s', (_what, forwarded, client) => {
    expect(addressOf('10.0.0.1', `198.51.100.1, ${forwarded}`)).toBe(client)
  })
})

describe('the search stops, so that nothing forged on its left is believed, at an entry that', () => {
  it.each([
    ['is quoted', '"192.0.2.20"'],
    ['is a name', 'client.example'],
    ['is unknown', 'unknown'],
    ['has a leading zero', '192.0.02.20'],
    ['has three octets', '192.0.2'],
    ['is a number', '3221225492'],
    ['is too large', '192.0.2.256'],
    ['is a block', '192.0.2.20/32'],
    ['has no number for a port', '192.0.2.20:http'],
    ['is IPv4 in brackets', '[192.0.2.20]'],
    ['is SQL', "'; DROP TABLE token; --"],
  ])('%s', (_what, entry) => {
    expect(addressOf('10.0.0.1', `198.51.100.1, ${entry}`)).toBe('10.0.0.1')
    expect(addressOf('10.0.0.1', `198.51.100.1, ${entry}, 10.0.0.2`)).toBe('10.0.0.2')
    expect(addressOf('10.0.0.1', entry)).toBe('10.0.0.1')
  })
})

describe('the header is not believed', () => {
  it.each([
    ['from a peer that is no trusted proxy', '192.0.2.99', PROXIES],
    ['from a peer of the other family', '2001:db8:ffff::1', PROXIES],
    ['where no proxy is trusted', '10.0.0.1', []],
  ])('%s', (_what, peer, trusted) => {
    expect(addressOf(peer, '198.51.100.1', trusted)).toBe(peer)
    expect(addressOf(peer, '10.0.0.2, 10.0.0.3', trusted)).toBe(peer)
  })

  it('from any direct caller, whatever its headers say', () => {
    const outsider = fc.ipV4().filter((address) => !/^(10\.|192\.168\.7\.7$)/.test(address))
    const header = fc.oneof(
      fc.string(),
      fc.array(fc.ipV4()).map((list) => list.join(', ')),
    )
    fc.assert(
      fc.property(outsider, header, (peer, forwarded) => {
        expect(addressOf(peer, forwarded)).toBe(peer)
      }),
    )
  })
})

it('the result is always an address that PostgreSQL accepts', () => {
  const noise = fc.oneof(fc.string(), fc.ipV4(), fc.ipV6(), fc.constant('fe80::1%eth0'))
  fc.assert(
    fc.property(fc.array(noise), (entries) => {
      const address = addressOf('10.0.0.1', entries.join(', ')) ?? ''
      expect(isIP(address)).not.toBe(0)
      expect(address).not.toContain('%')
    }),
  )
})

it('the address of a peer on the same link is returned without the name of the network interface', () => {
  expect(addressOf('fe80::1%eth0', undefined)).toBe('fe80::1')
})

it.each([
  ['an IPv4 client of a socket that takes both families', '::ffff:192.0.2.20', '192.0.2.20'],
  ['the same in upper case', '::FFFF:192.0.2.20', '192.0.2.20'],
  ['an IPv6 client', '2001:db8:2::20', '2001:db8:2::20'],
])('%s is known by its own address', (_what, peer, client) => {
  expect(addressOf(peer, undefined)).toBe(client)
})

it('a request whose socket is closed has no address', () => {
  expect(addressOf(undefined, '192.0.2.20')).toBe(undefined)
})
