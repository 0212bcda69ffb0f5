import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { UnauthenticatedError } from '../../src/domain/errors.ts'
import { formatToken, generateToken, isExpired, parseToken, serviceOf } from '../../src/domain/token.ts'
import { failure } from '../support/checks/failures.ts'
import { aNotebookToken, anInternalToken, aSession, at, NOW, tokens } from '../support/tokens/token-data.ts'

const KEY = 'q1w2e3r4t5y6u7i8o9p0aQ'
const SECRET = 'Zx-9_Yw8Vu7Ts6Rq5Po4Ng'

describe('a bearer string', () => {
  it('is gt-, the key, a dot and the secret', () => {
    const token = parseToken(`gt-${KEY}.${SECRET}`)

    expect(token).toEqual({ key: KEY, secret: SECRET })
    expect(formatToken(token)).toBe(`gt-${KEY}.${SECRET}`)
  })

  it('is read as it was written', () => {
    fc.assert(
      fc.property(tokens, (token) => {
        expect(parseToken(formatToken(token))).toEqual(token)
      }),
    )
  })

  it('is split at its first dot, whatever the halves are made of', () => {
    const odd = `.${SECRET.slice(1)}`

    expect(parseToken(`gt-${KEY}.${odd}`)).toEqual({ key: KEY, secret: odd })
    expect(parseToken(`gt-${'ä'.repeat(22)}.${SECRET}`).key).toBe('ä'.repeat(22))
  })

  it.each([
    ['empty', ''],
    ['without its prefix', `${KEY}.${SECRET}`],
    ['with another prefix', `dt-${KEY}.${SECRET}`],
    ['with its prefix in upper case', `GT-${KEY}.${SECRET}`],
    ['with its prefix alone', 'gt-'],
    ['with a key alone', `gt-${KEY}`],
    ['without a secret', `gt-${KEY}.`],
    ['without a key', `gt-.${SECRET}`],
    ['with a key too short', `gt-${KEY.slice(1)}.${SECRET}`],
    ['with a key too long', `gt-${KEY}A.${SECRET}`],
    ['with a secret too short', `gt-${KEY}.${SECRET.slice(1)}`],
    ['with a secret too long', `gt-${KEY}.${SECRET}A`],
    ['with a third part', `gt-${KEY}.${SECRET}.x`],
    ['with its dot too early', `gt-${KEY.slice(0, 21)}.${KEY.slice(21)}${SECRET}`],
    ['with another separator', `gt-${KEY}:${SECRET}`],
    ['with white space before it', ` gt-${KEY}.${SECRET}`],
    ['with a line feed behind it', `gt-${KEY}.${SECRET}\n`],
    ['with padding', `gt-${KEY}==.${SECRET}==`],
    ['twice over', `gt-${KEY}.${SECRET}gt-${KEY}.${SECRET}`],
  ])('%s is refused', (_what, text) => {
    expect(() => parseToken(text)).toThrow(failure('UNAUTHENTICATED', { reason: 'malformed' }))
  })

  it('that is refused is not repeated in the error', () => {
    try {
      parseToken(`gt-${KEY}.${SECRET}A`)
      expect.unreachable()
    } catch (error) {
      expect(error).toBeInstanceOf(UnauthenticatedError)
      expect(String((error as Error).stack)).not.toContain(SECRET)
    }
  })
})

describe('a new token', () => {
  it('has two halves of 128 random bits, 22 characters of base64url each', () => {
    const halves = Array.from({ length: 200 }, generateToken).flatMap(({ key, secret }) => [key, secret])

    expect(new Set(halves).size).toBe(400)
    for (const half of halves) {
      expect(half).toMatch(/^[A-Za-z0-9_-]{22}$/)
      expect(Buffer.from(half, 'base64url')).toHaveLength(16)
    }
  })
})

describe('the lifetime of a token', () => {
  it.each([
    ['has not ended a second before its end', at(1), false],
    ['has ended at its end', NOW, true],
    ['has ended a second after its end', at(-1), true],
    ['that never expires has not expired', null, false],
  ])('%s', (_what, expiresAt, expired) => {
    expect(isExpired({ expiresAt }, NOW)).toBe(expired)
  })
})

it.each([
  ['an internal token has one', anInternalToken({ service: 'tap' }), 'tap'],
  ['a notebook token has none', aNotebookToken(), null],
  ['a session has none', aSession(), null],
])('service: %s', (_what, data, service) => {
  expect(serviceOf(data)).toBe(service)
})
