import { expect, it } from 'vitest'
import {
  type ChangeFilter,
  parseTokenKey,
  type RevocationFilter,
  requireCriterion,
  requireSearchable,
} from '../../src/domain/filter.ts'
import { failure } from '../support/checks/failures.ts'
import { aToken, NOW } from '../support/tokens/token-data.ts'

it.each<RevocationFilter>([
  { username: 'wren' },
  { service: '' },
  { type: 'session' },
  { ancestor: aToken('a').key },
  { createdBefore: NOW },
  { username: 'wren', service: undefined },
])('tokens may be revoked by %j', (filter) => {
  expect(() => requireCriterion(filter)).not.toThrow()
})

it.each<RevocationFilter>([{}, { username: undefined, type: undefined }])(
  'all tokens at once may not be revoked: %j',
  (filter) => {
    expect(() => requireCriterion(filter)).toThrow(failure('INVALID_FILTER'))
  },
)

it.each<ChangeFilter | RevocationFilter>([
  { username: '\0' },
  { actor: 'wr\0en' },
  { service: 'tap\0', type: 'internal' },
  { key: 'a\0' },
  { since: new Date('0000-12-31T23:59:59Z') },
  { until: new Date('+010000-01-01T00:00:00Z') },
  { createdBefore: new Date(Number.NaN) },
])('what PostgreSQL could not look for is refused: %j', (filter) => {
  expect(() => requireSearchable(filter)).toThrow(failure('INVALID_FILTER'))
})

it.each<ChangeFilter | RevocationFilter>([
  {},
  { username: '', actor: undefined, since: NOW },
  { since: new Date('0001-01-01T00:00:00Z'), until: new Date('9999-12-31T23:59:59.999Z') },
  { username: 'Ünï ☃ \ud800', ipAddress: { isBlock: false, text: '192.0.2.20' } },
])('all else can be searched for: %j', (filter) => {
  expect(() => requireSearchable(filter)).not.toThrow()
})

it('a key with a NUL in it cannot be found, and any other text may be', () => {
  expect(() => parseTokenKey('a\0b')).toThrow(failure('NOT_FOUND'))
  expect(parseTokenKey('no key at all')).toBe('no key at all')
})
