import { expect, it } from 'vitest'
import { formatChallenge } from '../../../../src/http/forward-auth/ingress/challenge.ts'

const error = (scopes: string[]) => ({
  code: 'insufficient_scope' as const,
  description: 'No "scope" \\o/',
  scopes,
})

it('a plain challenge has the realm only', () => {
  expect(formatChallenge('bearer', 'example.org')).toBe('Bearer realm="example.org"')
})

it('a challenge has the error, its description without quotes and backslashes, and the scopes', () => {
  expect(formatChallenge('bearer', 'example.org', error(['exec:portal', 'read:all']))).toBe(
    'Bearer realm="example.org", error="insufficient_scope", error_description="No scope o/", scope="exec:portal read:all"',
  )
})

it('a Basic challenge has the realm only, whatever the error', () => {
  expect(formatChallenge('basic', 'example.org', error(['read:all']))).toBe('Basic realm="example.org"')
})

it.each([
  ['none', []],
  ['an empty one', ['']],
  ['one with a quote', ['a"b']],
  ['one with a line break', ['a\r\nX-Auth-Request-User: root']],
  ['one beyond ASCII', ['ü']],
  ['a bearer string', ['gt-abcdefghijklmnopqrstuv.ABCDEFGHIJKLMNOPQRSTUV']],
])('a challenge has no scope attribute for scopes that cannot be in it: %s', (_what, scopes) => {
  expect(formatChallenge('bearer', 'example.org', error(scopes))).toBe(
    'Bearer realm="example.org", error="insufficient_scope", error_description="No scope o/"',
  )
})
