import { expect, it } from 'vitest'
import { parseBearer } from '../../src/http/bearer.ts'

const TOKEN = 'gt-abcdefghijklmnopqrstuv.ABCDEFGHIJKLMNOPQRSTUV'

it.each([
  ['Bearer', `Bearer ${TOKEN}`],
  ['the scheme in lower case', `bearer ${TOKEN}`],
  ['the scheme in upper case', `BEARER ${TOKEN}`],
  ['several spaces between', `Bearer   ${TOKEN}`],
  ['spaces at the end', `Bearer ${TOKEN}  `],
])('the token is read from a header with %s', (_what, header) => {
  expect(parseBearer(header)).toBe(TOKEN)
})

it.each([
  ['undefined', undefined],
  ['null', null],
  ['empty', ''],
])('a header that is %s is no header', (_what, header) => {
  expect(parseBearer(header)).toBe(undefined)
})

it.each([
  ['another scheme', `Basic ${TOKEN}`],
  ['no scheme', TOKEN],
  ['the scheme alone', 'Bearer'],
  ['the scheme and spaces', 'Bearer   '],
  ['no space between', `Bearer${TOKEN}`],
  ['a tab between', `Bearer\t${TOKEN}`],
  ['two words behind the scheme', `Bearer ${TOKEN} ${TOKEN}`],
  ['two credentials', `Bearer ${TOKEN}, Bearer ${TOKEN}`],
  ['space before the scheme', ` Bearer ${TOKEN}`],
  ['a scheme that only ends so', `XBearer ${TOKEN}`],
])('a header with %s holds a token that is malformed, not none', (_what, header) => {
  expect(parseBearer(header)).toBe('')
})
