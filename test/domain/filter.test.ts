import { expect, it } from 'vitest'
import { type RevocationFilter, requireCriterion } from '../../src/domain/filter.ts'
import { failure } from '../support/failures.ts'
import { aToken, NOW } from '../support/token-data.ts'

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
