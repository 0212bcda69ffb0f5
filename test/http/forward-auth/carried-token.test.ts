import { describe, expect, it } from 'vitest'
import { formatToken, generateToken } from '../../../src/domain/token.ts'
import { carriesToken } from '../../../src/http/forward-auth/carried-token.ts'

const TOKEN = 'gt-abcdefghijklmnopqrstuv.ABCDEFGHIJKLMNOPQRSTUV'
const base64 = (text: string) => Buffer.from(text).toString('base64')

/** Puts `text` into the middle of `encoded`. */
const insert = (encoded: string, text: string) => `${encoded.slice(0, 42)}${text}${encoded.slice(42)}`

describe('a token is found in a header field', () => {
  it.each([
    ['alone', TOKEN],
    ['behind a scheme', `Bearer ${TOKEN}`],
    ['behind a scheme in another case', `bEARER ${TOKEN}`],
    ['behind a scheme that does not exist', `X-Custom ${TOKEN}`],
    ['behind a scheme without a space', `Bearer${TOKEN}`],
    ['behind tabs', `Token\t\t${TOKEN}`],
    ['as a parameter', `Digest username="${TOKEN}", realm="x"`],
    ['as the second of two credentials', `Basic Zm9vOmJhcg==, Bearer ${TOKEN}`],
    ['split by spaces', `Bearer ${TOKEN.slice(0, 10)} ${TOKEN.slice(10)}`],
    ['split by quotes', `Bearer "${TOKEN.slice(0, 26)}""${TOKEN.slice(26)}"`],
    ['split by backslashes', `Bearer g\\t-${TOKEN.slice(3)}`],
    ['percent-encoded in part', `Bearer gt%2D${TOKEN.slice(3)}`],
    ['percent-encoded twice', `Bearer gt%252D${TOKEN.slice(3)}`],
    ['as the username of Basic', `Basic ${base64(`${TOKEN}:x-oauth-basic`)}`],
    ['as the password of Basic', `Basic ${base64(`x-oauth-basic:${TOKEN}`)}`],
    ['as a part of a password that has colons', `Basic ${base64(`user:a:${TOKEN}:b`)}`],
    ['in base64 behind another scheme', `Negotiate ${base64(TOKEN)}`],
    ['in base64 without padding', `Basic ${base64(`x:${TOKEN}`).replace(/=+$/, '')}`],
    ['in base64 with spaces', `Basic ${base64(`x:${TOKEN}`).replace(/(.{9})/g, '$1 ')}`],
    ['in base64 behind a scheme without a space', `Basic${base64(`user:${TOKEN}`)}`],
    ['in base64 in base64', `Basic ${base64(base64(`x:${TOKEN}`))}`],
    ['in base64 with percent signs', `Basic ${encodeURIComponent(base64(`xx:${TOKEN}`))}`],
    [
      'in base64 with a character that decoders skip',
      `Basic ${insert(base64(`${TOKEN}:x-oauth-basic`), '.')}`,
    ],
    ['in base64 with a byte that decoders skip', `Basic ${insert(base64(`${TOKEN}:x-oauth-basic`), '\x80')}`],
    ['in UTF-16 in base64', `Basic ${Buffer.from(`x:${TOKEN}`, 'utf16le').toString('base64')}`],
  ])('%s', (_how, value) => {
    expect(carriesToken(value)).toBe(true)
  })

  it('in base64url with any token', () => {
    for (let time = 0; time < 200; time += 1) {
      const bearer = formatToken(generateToken())
      const username = 'u'.repeat(time % 7)
      const encoded = Buffer.from(`${username}:${bearer}`)
      expect(carriesToken(`Basic ${encoded.toString('base64url')}`)).toBe(true)
      expect(carriesToken(`Basic ${encoded.toString('base64')}`)).toBe(true)
    }
  })
})

it.each([
  ['nothing', ''],
  ['a token of another program', `token gho_${'a'.repeat(60)}`],
  [
    'a JSON Web Token',
    `Bearer ${base64('{"alg":"none"}')}.${base64(JSON.stringify({ sub: 'x'.repeat(80) }))}.`,
  ],
  ['credentials of Basic', `Basic ${base64(`user:${'p'.repeat(80)}`)}`],
  ['a token whose key is too short', `Bearer gt-${TOKEN.slice(4)}`],
  ['the key of a token alone', `Bearer ${TOKEN.slice(0, 25)}`],
  ['64 KiB of base64', `Basic ${'QUJD'.repeat(16_000)}`],
])('no token is found in %s', (_what, value) => {
  expect(carriesToken(value)).toBe(false)
})
