import { describe, expect, it } from 'vitest'
import { parseAuthorization } from '../../src/http/authorization.ts'

const TOKEN = 'gt-abcdefghijklmnopqrstuv.ABCDEFGHIJKLMNOPQRSTUV'
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

describe('an Authorization value is parsed', () => {
  it.each([
    ['Bearer', `Bearer ${TOKEN}`, { scheme: 'bearer', token: TOKEN }],
    ['another case and blanks', ` bEARER \t ${TOKEN}  `, { scheme: 'bearer', token: TOKEN }],
    ['Bearer without a value', 'Bearer', { scheme: 'bearer', token: '' }],
    ['Bearer with two words', `Bearer ${TOKEN} x`, { scheme: 'bearer', token: `${TOKEN} x` }],
    ['Basic', basic(`wren:${TOKEN}`), { scheme: 'basic', username: 'wren', password: TOKEN }],
    ['Basic with several colons', basic('a:b:c'), { scheme: 'basic', username: 'a', password: 'b:c' }],
    ['Basic without a colon', basic('wren'), { scheme: 'basic', username: '', password: '' }],
    ['Basic without base64', 'Basic a:b', { scheme: 'basic', username: '', password: '' }],
    ['another scheme', 'Digest x', { scheme: 'other' }],
    ['a scheme that begins so', `Bearers ${TOKEN}`, { scheme: 'other' }],
    ['no scheme', TOKEN, { scheme: 'other' }],
    ['nothing', '', { scheme: 'other' }],
  ])('of %s', (_what, value, expected) => {
    expect(parseAuthorization(value)).toEqual(expected)
  })

  it('in linear time: a pattern would try millions of blanks for hours', () => {
    const value = `x${' '.repeat(4_000_000)}y`
    expect(parseAuthorization(`Bearer ${value}`)).toEqual({ scheme: 'bearer', token: value })
  })
})
