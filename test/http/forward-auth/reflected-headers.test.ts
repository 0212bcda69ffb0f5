import { expect, it } from 'vitest'
import { reflectAuthorizations, reflectCookies } from '../../../src/http/forward-auth/reflected-headers.ts'

const TOKEN = 'gt-abcdefghijklmnopqrstuv.ABCDEFGHIJKLMNOPQRSTUV'
const SESSION_COOKIES = new Set(['gafaelfawr', 'sid'])

it('Authorization fields are reflected in their order, without those that carry a token of ours', () => {
  const fields = [
    'Basic dTpw',
    `Bearer ${TOKEN}`,
    'Bearer eyJ.x.y',
    '',
    `token ${TOKEN}`,
    'Basic dTpw',
    'Digest',
  ]
  expect(reflectAuthorizations(fields)).toEqual(['Basic dTpw', 'Bearer eyJ.x.y', 'Basic dTpw', 'Digest'])
})

it.each([
  ['all of a field without ours', ['a=1; b="2"'], 'a=1; b="2"'],
  ['all fields as one', ['a=1', 'b=2;c=3'], 'a=1; b=2; c=3'],
  ['none where only ours are sent', ['gafaelfawr=x; sid=y', 'gafaelfawr='], undefined],
  ['those beside ours', ['a=1; gafaelfawr=x; b=2'], 'a=1; b=2'],
  ['those beside ours without a space between', ['a=1;gafaelfawr=x;b=2'], 'a=1; b=2'],
  ['those beside ours with a space before the equals sign', ['gafaelfawr =x; b=2'], 'b=2'],
  ['those beside one that carries a token', [`b=2; other=${TOKEN}; ${TOKEN}=1; ${TOKEN}`], 'b=2'],
  ['those beside one that carries a percent-encoded token', [`other=gt%2D${TOKEN.slice(3)}; b=2`], 'b=2'],
  ['those beside one that carries a token with an escape', [`other="\\147${TOKEN.slice(1)}"; b=2`], 'b=2'],
  ['one whose name differs in case', ['Gafaelfawr=x'], 'Gafaelfawr=x'],
  ['none without a field', [], undefined],
])('cookies are reflected: %s', (_what, fields, reflected) => {
  expect(reflectCookies(fields, SESSION_COOKIES)).toBe(reflected)
})
