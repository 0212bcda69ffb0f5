import { expect, it } from 'vitest'
import type { TokenData } from '../../../src/domain/token.ts'
import { encodeHeaderValue, identityHeaders } from '../../../src/http/forward-auth/identity-headers.ts'
import { aSession } from '../../support/tokens/token-data.ts'

it.each([
  ['printable ASCII as it is', 'Wren Okafor <w@x.org> ~', 'Wren Okafor <w@x.org> ~'],
  ['other characters as percent-encoded UTF-8', 'Zoë 漢', 'Zo%C3%AB %E6%BC%A2'],
  ['the percent sign encoded', '100%', '100%25'],
  ['line breaks and control characters encoded', 'a\r\nX: b\0\x7f', 'a%0D%0AX: b%00%7F'],
  ['spaces at the ends encoded, which a proxy would cut off', ' a b ', '%20a b%20'],
  ['half of a surrogate pair as what replaces it', '\ud800', '%EF%BF%BD'],
  ['nothing as nothing', '', ''],
])('a header has %s', (_what, text, expected) => {
  expect(encodeHeaderValue(text)).toBe(expected)
})

it('a comma in a group or scope is no separator', () => {
  const data: TokenData = {
    ...aSession(),
    scopes: ['read:all', 'x,admin:token'],
    userInfo: {
      name: null,
      email: 'w@ö',
      uid: 2n ** 70n,
      gid: 1,
      groups: [
        { name: 'a,b c', id: 1 },
        { name: 'd', id: 2 },
      ],
    },
  }
  expect(identityHeaders(data)).toMatchObject({
    'X-Auth-Request-Email': 'w@%C3%B6',
    'X-Auth-Request-Uid': '1180591620717411303424',
    'X-Auth-Request-Groups': 'a%2Cb%20c,d',
    'X-Auth-Request-Scopes': 'read:all,x%2Cadmin:token',
    'X-Auth-Request-Service': '',
  })
})
