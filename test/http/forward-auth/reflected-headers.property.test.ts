import fc from 'fast-check'
import { expect, it } from 'vitest'
import { formatToken, generateToken } from '../../../src/domain/token.ts'
import { reflectAuthorizations, reflectCookies } from '../../../src/http/forward-auth/reflected-headers.ts'

/** Ways in which a text may be written into another. */
const WRITTEN: fc.Arbitrary<(text: string) => string> = fc.oneof(
  fc.constant((text: string) => text),
  fc
    .constantFrom<BufferEncoding>('base64', 'base64url')
    .map((encoding) => (text: string) => Buffer.from(text).toString(encoding)),
  fc
    .nat({ max: 47 })
    .map(
      (place) => (text: string) =>
        text.replace(/./g, (char, at) => (at % 48 === place ? percent(char) : char)),
    ),
  fc.constant((text: string) => [...text].map(percent).join('')),
  fc.constantFrom('"', ' ', '\t', "'").map((around) => (text: string) => `${around}${text}${around}`),
  fc.nat({ max: 47 }).map((place) => (text: string) => `${text.slice(0, place)} ${text.slice(place)}`),
)

const percent = (char: string): string =>
  [...Buffer.from(char)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')

/** Text around a token: schemes, parameters, other credentials. */
const AROUND = fc.oneof(
  fc.constantFrom('', 'Bearer ', 'bearer\t', 'Basic ', 'Token token=', 'a, ', 'x:', ':', '=', '(', '; '),
  fc.string({ maxLength: 12 }).map((text) => `${text.replace(/[^\x20-\x7e]|[\w+/=%;-]/g, '')} `),
)

const CARRIED = fc
  .tuple(AROUND, AROUND, fc.array(WRITTEN, { maxLength: 2 }))
  .map(([before, after, ways]) => ({ before, after, ways, bearer: formatToken(generateToken()) }))

it('no Authorization field that carries a bearer string is reflected, however it is written in it', () => {
  fc.assert(
    fc.property(CARRIED, ({ before, after, ways, bearer }) => {
      const carried = ways.reduce((text, write) => write(text), bearer)
      expect(reflectAuthorizations([`${before}${carried}${after}`])).toEqual([])
    }),
    { numRuns: 2_000 },
  )
})

it('no cookie that carries a bearer string is reflected, however it is written in it', () => {
  fc.assert(
    fc.property(CARRIED, ({ before, after, ways, bearer }) => {
      const carried = ways.reduce((text, write) => write(text), bearer)
      const cookie = `x=${before}${carried}${after}`.replaceAll(';', '')
      expect(reflectCookies([`a=1; ${cookie}; b=2`], new Set())).toBe('a=1; b=2')
    }),
    { numRuns: 2_000 },
  )
})
