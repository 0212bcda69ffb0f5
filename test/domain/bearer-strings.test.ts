import { expect, it } from 'vitest'
import { requireService } from '../../src/domain/delegation.ts'
import { parseTokenKey, requireSearchable } from '../../src/domain/filter.ts'
import {
  formatToken,
  generateToken,
  holdsBearerString,
  redact,
  type TokenKey,
} from '../../src/domain/token.ts'
import { requireTokenName } from '../../src/domain/user.ts'
import { failure } from '../support/checks/failures.ts'

const BEARER = formatToken(generateToken())

it('a bearer string is found wherever it stands, and taken out', () => {
  expect(holdsBearerString(`a ${BEARER} b`)).toBe(true)
  expect(holdsBearerString(`a ${BEARER} b`)).toBe(true)
  expect(redact(`a ${BEARER} b ${BEARER}`)).toBe('a gt-… b gt-…')
  expect(holdsBearerString(BEARER.slice(0, -1))).toBe(false)
})

it('a bearer string is no name of a service or of a token, where the history would keep it', () => {
  expect(() => requireService(BEARER)).toThrow(failure('INVALID_SERVICE'))
  expect(() => requireTokenName(`my ${BEARER}`)).toThrow(failure('INVALID_TOKEN_NAME'))
})

const ADVICE = { message: expect.stringContaining('between gt- and the dot') }

it('a bearer string is no key, and nothing to search for: it would seem that there is no such token any more', () => {
  expect(() => parseTokenKey(BEARER)).toThrow(failure('NOT_FOUND', ADVICE))
  for (const filter of [{ ancestor: BEARER as TokenKey }, { key: BEARER as TokenKey }, { service: BEARER }]) {
    expect(() => requireSearchable(filter)).toThrow(failure('INVALID_FILTER', ADVICE))
  }
})
