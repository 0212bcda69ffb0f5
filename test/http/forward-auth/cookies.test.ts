import { describe, expect, it } from 'vitest'
import { findCookie, withoutCookies } from '../../../src/http/forward-auth/cookies.ts'

describe('the value of a cookie is read', () => {
  it.each([
    ['alone', ['s=1'], '1'],
    ['between others', ['a=0; s=1; b=2'], '1'],
    ['without a space between', ['a=0;s=1'], '1'],
    ['with spaces around', ['a=0;  s = 1 ;b=2'], '1'],
    ['of the last one of several', ['s=1; s=2'], '2'],
    ['of the last field of several', ['s=1', 'a=0; s=2'], '2'],
    ['with an equals sign', ['s=a=b='], 'a=b='],
    ['in quotes', ['s="1"'], '1'],
    ['in quotes with escapes', ['s="a\\"b\\075c\\\\"'], 'a"b=c\\'],
    ['with one quote only', ['s="'], '"'],
    ['empty', ['s='], ''],
  ])('%s', (_how, headers, value) => {
    expect(findCookie(headers, 's')).toBe(value)
  })
})

it.each([
  ['no field', []],
  ['another name', ['session=1']],
  ['a name in another case', ['S=1']],
  ['a name without a value', ['s']],
  ['the name in the value of another', ['a="; t=1; x=s=1"']],
])('there is no cookie with %s', (_what, headers) => {
  expect(findCookie(headers, 's')).toBe(undefined)
})

it.each([
  ['the only one', ['s=1'], ''],
  ['one between others', ['a=0; s=1; b=2'], 'a=0; b=2'],
  ['every one of several', ['s=1; a=0;s =2', ' s=3'], 'a=0'],
  ['none', ['a=0;;  b; ="1"', 'c=3'], 'a=0; b; ="1"; c=3'],
])('all cookies but the dropped ones are kept: %s', (_what, headers, kept) => {
  expect(withoutCookies(headers, (name) => name === 's')).toBe(kept)
})
