import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type DelegationRequest, type RequestKey, requestKey } from '../../../src/domain/delegation.ts'
import {
  ENGINE_LOCK,
  MAINTENANCE_LOCK,
  MIGRATE_LOCK,
  parentLockKey,
  REPLAY_LOCK,
  requestLockKey,
} from '../../../src/stores/database/advisory-locks.ts'
import { aSession, aToken, NOW, scopeSets, tokenDataAt } from '../../support/tokens/token-data.ts'

const INTERNAL: DelegationRequest = { type: 'internal', service: 'tap', scopes: ['read:all'] }
const NOTEBOOK: DelegationRequest = { type: 'notebook', undelegable: new Set(['admin:token']) }

const requests: fc.Arbitrary<DelegationRequest> = fc.oneof(
  fc.constant(NOTEBOOK),
  fc.record({
    type: fc.constant('internal' as const),
    service: fc.stringMatching(/^[A-Za-z0-9._-]{1,8}$/),
    scopes: scopeSets,
  }),
)

describe('the keys of advisory locks', () => {
  it('are the same in every process and every release, since these run side by side', () => {
    expect([MIGRATE_LOCK, ENGINE_LOCK, MAINTENANCE_LOCK, REPLAY_LOCK]).toEqual([
      [1_886_351_988, 2],
      72_707_369,
      123_623_963_912_303,
      1_919_250_481,
    ])
    expect(parentLockKey(aToken('parent').key)).toBe(-1_225_243_423_979_940_444n)
  })

  it('are different for what one process holds at the same time', () => {
    expect(new Set([ENGINE_LOCK, MAINTENANCE_LOCK]).size).toBe(2)
    expect(MIGRATE_LOCK[0]).not.toBe(REPLAY_LOCK)
  })
})

describe('the key of the lock on a request key', () => {
  const tap: RequestKey = requestKey(aSession(), INTERNAL)
  const notebook = requestKey(aSession(), NOTEBOOK)

  it('is the same in every process and every release, since these run side by side', () => {
    expect(requestLockKey(tap)).toBe(-381_851_691_576_100_559n)
    expect(requestLockKey(notebook)).toBe(6_793_559_946_467_078_125n)
  })

  it('is a signed number of 64 bits, which PostgreSQL requires', () => {
    fc.assert(
      fc.property(tokenDataAt(NOW), requests, (data, request) => {
        const key = requestLockKey(requestKey(data, request))
        expect(BigInt.asIntN(64, key)).toBe(key)
      }),
    )
  })

  it.each<[string, RequestKey]>([
    ['parent', { ...tap, parentKey: aToken('another').key }],
    ['type', { ...tap, type: 'notebook' }],
    ['service', { ...tap, service: 'tap2' }],
    ['scopes', { ...tap, scopes: ['read:all', 'read:tap'] }],
    ['empty scopes', { ...tap, scopes: [] }],
  ])('differs for requests with different %s', (_what, other) => {
    expect(requestLockKey(other)).not.toBe(requestLockKey(tap))
  })

  it("of a notebook token does not depend on the parent's scopes, which may change meanwhile", () => {
    expect(requestLockKey({ ...notebook, scopes: [] })).toBe(requestLockKey(notebook))
  })

  it('differs from the key of the lock on all children of the parent', () => {
    expect(parentLockKey(tap.parentKey)).not.toBe(requestLockKey(tap))
  })
})
