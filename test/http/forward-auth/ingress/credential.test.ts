import { describe, expect, it } from 'vitest'
import { findCredential, parseAuthorization } from '../../../../src/http/forward-auth/ingress/credential.ts'

const TOKEN = 'gt-abcdefghijklmnopqrstuv.ABCDEFGHIJKLMNOPQRSTUV'
const OTHER = 'gt-ABCDEFGHIJKLMNOPQRSTUV.abcdefghijklmnopqrstuv'
const basic = (text: string | Buffer) => `Basic ${Buffer.from(text).toString('base64')}`
const found = (bearer: string) => ({ kind: 'token', bearer, source: 'authorization' })

describe('the token is read from an Authorization field', () => {
  it.each([
    ['of the scheme Bearer', `Bearer ${TOKEN}`],
    ['with a scheme in another case', `bEaReR ${TOKEN}`],
    ['with several spaces', `Bearer    ${TOKEN}`],
    ['with a tab and a space', `Bearer \t ${TOKEN}`],
    ['of the scheme Basic, as the username', basic(`${TOKEN}:x-oauth-basic`)],
    ['of the scheme Basic, as the username without a password', basic(`${TOKEN}:`)],
    ['of the scheme Basic, as the password', basic(`x-oauth-basic:${TOKEN}`)],
    ['of the scheme Basic, as both', basic(`${TOKEN}:${TOKEN}`)],
    ['of the scheme Basic, with spaces around', basic(` ${TOKEN}:x\n`)],
    ['of the scheme Basic in another case', basic(`${TOKEN}:x`).replace('Basic', 'BASIC ')],
  ])('%s', (_how, header) => {
    expect(parseAuthorization(header)).toEqual(found(TOKEN))
  })
})

it('what follows Bearer is presented as a token, even if it is not one', () => {
  expect(parseAuthorization('Bearer eyJhbGciOi.x y')).toEqual(found('eyJhbGciOi.x y'))
})

it('Basic credentials without a token are no credentials', () => {
  expect(parseAuthorization(basic('user:password'))).toEqual({ kind: 'none' })
  expect(parseAuthorization(basic(`${TOKEN.slice(0, -1)}:x`))).toEqual({ kind: 'none' })
})

it.each([
  ['a scheme alone', 'Bearer', 'Malformed Authorization header'],
  ['a token alone', TOKEN, 'Malformed Authorization header'],
  ['a tab between', `Bearer\t${TOKEN}`, 'Malformed Authorization header'],
  ['another scheme', 'Digest x', 'Unknown Authorization type'],
  ['a token as the scheme', `${TOKEN} x`, 'Unknown Authorization type'],
  [
    'two different tokens',
    basic(`${TOKEN}:${OTHER}`),
    'Conflicting tokens in Basic username and password fields',
  ],
  ['Basic credentials without a colon', basic(TOKEN), 'Invalid Basic auth string'],
  ['Basic credentials with two colons', basic(`${TOKEN}:a:b`), 'Invalid Basic auth string'],
  ['Basic credentials that are not UTF-8', basic(Buffer.from([0xff, 0x3a])), 'Invalid Basic auth string'],
])(
  'an Authorization field with %s is malformed, and the description has nothing of it',
  (_what, header, description) => {
    expect(parseAuthorization(header)).toEqual({ kind: 'malformed', description })
  },
)

const rules = (allowCookies: boolean) => ({ allowCookies, authType: 'bearer' as const })
const cookie = { kind: 'token', bearer: OTHER, source: 'cookie' }

it.each([
  ['the cookie before the Authorization field', [`Bearer ${TOKEN}`], OTHER, true, cookie],
  ['the cookie also before a malformed Authorization field', ['?'], OTHER, true, cookie],
  [
    'the Authorization field where the cookie has no token',
    [`Bearer ${TOKEN}`],
    undefined,
    true,
    found(TOKEN),
  ],
  ['the Authorization field where cookies are not allowed', [`Bearer ${TOKEN}`], OTHER, false, found(TOKEN)],
  [
    'the first of several Authorization fields',
    [`Bearer ${TOKEN}`, `Bearer ${OTHER}`],
    undefined,
    true,
    found(TOKEN),
  ],
  [
    'none where cookies are not allowed and the Authorization field is empty',
    [''],
    OTHER,
    false,
    { kind: 'none' },
  ],
  [
    'none where the first Authorization field is empty',
    ['', `Bearer ${TOKEN}`],
    undefined,
    true,
    { kind: 'none' },
  ],
  ['none without a field', [], undefined, true, { kind: 'none' }],
])('the credentials are %s', (_what, authorizations, cookieToken, allowCookies, credential) => {
  expect(findCredential(authorizations, () => cookieToken, rules(allowCookies))).toEqual(credential)
})
