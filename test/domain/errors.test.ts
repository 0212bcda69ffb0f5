import { describe, expect, it } from 'vitest'
import {
  ERROR_STATUS,
  PorthorError,
  UnauthenticatedError,
  UnavailableError,
} from '../../src/domain/errors.ts'

it.each([
  [401, 'INSUFFICIENT_LIFETIME UNAUTHENTICATED'],
  [403, 'DELEGATION_TOO_DEEP PERMISSION_DENIED'],
  [429, 'RATE_LIMITED TOO_MANY_TOKENS'],
  [503, 'UNAVAILABLE'],
  [
    200,
    'DUPLICATE_TOKEN_NAME INVALID_CURSOR INVALID_EXPIRES INVALID_FILTER INVALID_IP_ADDRESS INVALID_MINIMUM_LIFETIME ' +
      'INVALID_PAGE_SIZE INVALID_SCOPES INVALID_SERVICE INVALID_TOKEN_NAME INVALID_USERNAME INVALID_USER_INFO NOT_FOUND RESPONSE_TOO_LARGE',
  ],
])('the codes that are answered with %i are these', (status, codes) => {
  const found = Object.entries(ERROR_STATUS).filter((entry) => entry[1] === status)

  expect(found.map(([code]) => code).sort()).toEqual(codes.split(' '))
})

it('no code is answered with another status', () => {
  expect(new Set(Object.values(ERROR_STATUS))).toEqual(new Set([200, 401, 403, 429, 503]))
})

describe('a token that does not authenticate', () => {
  it('is answered with the same words whatever is wrong with it', () => {
    const messages = (['malformed', 'unknown', 'desynchronised'] as const).map(
      (reason) => new UnauthenticatedError(reason).message,
    )

    expect(new Set(messages).size).toBe(1)
  })

  it('differs from the error without a token, and has its reason in the log', () => {
    const missing = new UnauthenticatedError('missing')

    expect(missing.message).toContain('Authorization: Bearer <token>')
    expect(missing.message).not.toBe(new UnauthenticatedError('unknown').message)
    expect(missing.reason).toBe('missing')
  })
})

it('a store that did not respond is named in the log and not to the client', () => {
  const cause = new Error('connect ECONNREFUSED 10.1.2.3:6379')
  const error = new UnavailableError('redis', cause)

  expect(error).toBeInstanceOf(PorthorError)
  expect(error).toMatchObject({ code: 'UNAVAILABLE', store: 'redis', cause })
  expect(error.message).not.toMatch(/redis|10\.1\.2\.3/i)
})
