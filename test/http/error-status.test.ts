import { expect, it } from 'vitest'
import { ERROR_STATUS } from '../../src/http/error-status.ts'

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
])('the responses with status %i are those with one of the error codes %s', (status, codes) => {
  const found = Object.entries(ERROR_STATUS).filter((entry) => entry[1] === status)

  expect(found.map(([code]) => code).sort()).toEqual(codes.split(' '))
})

it('no error code has another status', () => {
  expect(new Set(Object.values(ERROR_STATUS))).toEqual(new Set([200, 401, 403, 429, 503]))
})
