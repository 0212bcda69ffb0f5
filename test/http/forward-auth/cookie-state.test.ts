import { expect, it } from 'vitest'
import { findTokenInState } from '../../../src/http/forward-auth/cookie-state.ts'
import { Fernet, generateFernetKey } from '../../../src/lib/fernet.ts'

const TOKEN = 'gt-abcdefghijklmnopqrstuv.ABCDEFGHIJKLMNOPQRSTUV'
const [oldKey, newKey] = [generateFernetKey(), generateFernetKey()]
const encrypt = (state: string, key = newKey) => new Fernet([key]).encrypt(state, { now: new Date(0) })

it('the token is read from the state in a cookie, whatever else the state has', () => {
  const state = JSON.stringify({ csrf: 'x', token: TOKEN, login_start: 1767225600.5 })
  expect(findTokenInState(encrypt(state), new Fernet([newKey]))).toBe(TOKEN)
})

it('the state may be encrypted with any of the encryption keys', () => {
  const cookie = encrypt(JSON.stringify({ token: TOKEN }), oldKey)
  expect(findTokenInState(cookie, new Fernet([newKey, oldKey]))).toBe(TOKEN)
})

it.each([
  ['text that is not encrypted', JSON.stringify({ token: TOKEN })],
  ['a bearer string', TOKEN],
  ['the state of another installation', encrypt(JSON.stringify({ token: TOKEN }), oldKey)],
  ['what is not JSON', encrypt(TOKEN)],
  ['null', encrypt('null')],
  ['a list', encrypt(JSON.stringify([TOKEN]))],
  ['a state before the log-in', encrypt(JSON.stringify({ csrf: 'x', state: 'y' }))],
  ['a malformed token', encrypt(JSON.stringify({ token: TOKEN.slice(1) }))],
  ['a token that is not text', encrypt(JSON.stringify({ token: { key: 'x', secret: 'y' } }))],
  ['an empty value', ''],
])('a cookie with %s counts as no cookie', (_what, cookie) => {
  expect(findTokenInState(cookie, new Fernet([newKey]))).toBe(undefined)
})
