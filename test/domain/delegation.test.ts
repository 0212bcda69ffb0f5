import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  agrees,
  type ChildRecord,
  cacheKey,
  childExpiry,
  childScopes,
  type DelegationRequest,
  isReusable,
  isSameCacheKey,
  minimumExpiry,
  outlives,
  requestKey,
  requireMinimumLifetime,
  requireParentLifetime,
  requireService,
} from '../../src/domain/delegation.ts'
import { secondsUntil } from '../../src/domain/lifetime.ts'
import { toScopes } from '../../src/domain/scope.ts'
import type { TokenData } from '../../src/domain/token.ts'
import { failure } from '../support/checks/failures.ts'
import {
  aNotebookToken,
  anInternalToken,
  aSession,
  aToken,
  at,
  NOW,
  scopeSets,
  tokenDataAt,
} from '../support/tokens/token-data.ts'

const INTERNAL: DelegationRequest = { type: 'internal', service: 'tap', scopes: ['read:all'] }
const NOTEBOOK: DelegationRequest = { type: 'notebook', undelegable: new Set(['admin:token']) }

const services = fc.stringMatching(/^[A-Za-z0-9._-]{1,8}$/)
const requests: fc.Arbitrary<DelegationRequest> = fc.oneof(
  fc.constant(NOTEBOOK),
  fc.record({ type: fc.constant('internal' as const), service: services, scopes: scopeSets }),
)

describe('the name of a service', () => {
  it.each(['a', 'tap', 'vo-cutouts', 'A.b_c-9', 'x'.repeat(64)])('may be %s', (service) => {
    expect(() => requireService(service)).not.toThrow()
  })

  it.each([
    ['empty', ''],
    ['65 characters', 'x'.repeat(65)],
    ['with a blank', 'vo cutouts'],
    ['with a line feed behind', 'tap\n'],
    ['with a slash', 'tap/sync'],
    ['with a letter of another alphabet', 'täp'],
    ['with NUL', 'tap\0'],
    ['with a comma', 'a,b'],
  ])('may not be %s', (_what, service) => {
    expect(() => requireService(service)).toThrow(failure('INVALID_SERVICE'))
  })
})

describe('a minimum lifetime', () => {
  it.each([
    ['not given', undefined],
    ['300 s', 300],
    ['the delegated lifetime less 300 s', 700],
  ])('may be %s', (_what, minimum) => {
    expect(() => requireMinimumLifetime(minimum, 1_000)).not.toThrow()
  })

  it.each([-1, 0, 299, 701, 1_000, 2 ** 31 - 1, Number.NaN])('may not be %i s of 1,000', (minimum) => {
    expect(() => requireMinimumLifetime(minimum, 1_000)).toThrow(
      failure('INVALID_MINIMUM_LIFETIME', { message: 'minimumLifetime must be 300 to 700 seconds.' }),
    )
  })
})

describe('the lifetime of a parent is enough', () => {
  it.each([
    ['with 300 s left, where nothing is asked', at(300), undefined],
    ['with just what is asked', at(500), 500],
    ['without an end, whatever is asked', null, 10_000],
  ])('%s', (_what, expiresAt, minimum) => {
    expect(() => requireParentLifetime(aSession({ expiresAt }), minimum, NOW)).not.toThrow()
  })

  it.each([
    ['with 299 s left', at(299), undefined],
    ['with a second less than asked', at(499), 500],
    ['with a fraction less than asked', at(499.9), 500],
    ['when its life is over', at(-1), undefined],
  ])('but not %s', (_what, expiresAt, minimum) => {
    expect(() => requireParentLifetime(aSession({ expiresAt }), minimum, NOW)).toThrow(
      failure('INSUFFICIENT_LIFETIME'),
    )
  })
})

describe('the scopes of a child', () => {
  const parent = aSession({ scopes: ['admin:token', 'read:all'] })

  it("are the requested ones in an internal token, and all of the parent's except the undelegable ones in a notebook token", () => {
    expect(childScopes(parent, INTERNAL)).toEqual(['read:all'])
    expect(childScopes(parent, NOTEBOOK)).toEqual(['read:all'])
  })

  it('are part of its request key, with parent, user, type and service', () => {
    const parentKey = parent.token.key

    expect(requestKey(parent, INTERNAL)).toEqual({
      parentKey,
      username: 'wren',
      type: 'internal',
      service: 'tap',
      scopes: ['read:all'],
    })
    expect(requestKey(parent, NOTEBOOK)).toEqual({
      parentKey,
      username: 'wren',
      type: 'notebook',
      service: null,
      scopes: ['read:all'],
    })
  })
})

describe('the cache key', () => {
  const parent = aSession()

  it('is the same for the same scopes in any order and number', () => {
    const asked = (...scopes: string[]) =>
      cacheKey(parent, { type: 'internal', service: 'tap', scopes: toScopes(scopes) })

    expect(asked('read:tap', 'read:all', 'read:tap')).toEqual(asked('read:all', 'read:tap'))
  })

  it('is equal for two requests exactly when parent, its expiry, service and scopes are', () => {
    const parents = fc
      .record({ name: fc.constantFrom('a', 'b'), end: fc.constantFrom(null, at(1), at(2)) })
      .map(({ name, end }) => aSession({ token: aToken(name), expiresAt: end }))
    const service = fc.constantFrom('a', 'ab', 'b')
    const scopes = fc.subarray(['a', 'a:b', 'b'])
    const request: fc.Arbitrary<DelegationRequest> = fc.record({
      type: fc.constant('internal'),
      service,
      scopes,
    })
    const wish = fc.tuple(parents, request)
    const facts = ([{ token, expiresAt }, asked]: [TokenData, DelegationRequest]) =>
      JSON.stringify([token.key, expiresAt, asked])
    fc.assert(
      fc.property(wish, wish, (left, right) => {
        expect(isSameCacheKey(cacheKey(...left), cacheKey(...right))).toBe(facts(left) === facts(right))
      }),
      { numRuns: 2_000 },
    )
  })

  it("of a notebook token is its parent and the parent's expiry, whatever its scopes", () => {
    const key = cacheKey(parent, NOTEBOOK)

    expect(cacheKey({ ...parent, scopes: [] }, NOTEBOOK)).toEqual(key)
    expect(cacheKey({ ...parent, expiresAt: null }, NOTEBOOK)).not.toEqual(key)
    expect(cacheKey({ ...parent, token: aToken('another') }, NOTEBOOK)).not.toEqual(key)
  })

  it('holds no secret', () => {
    fc.assert(
      fc.property(tokenDataAt(NOW), requests, (data, request) => {
        expect(JSON.stringify(cacheKey(data, request))).not.toContain(data.token.secret)
      }),
    )
  })
})

describe('the expiry of a new child', () => {
  it.each([
    ['is after the delegated lifetime, where the parent expires later', at(5_000), at(1_000)],
    ['is after the delegated lifetime, where the parent never expires', null, at(1_000)],
    ["is the parent's, where that is earlier", at(999), at(999)],
  ])('%s', (_what, parentEnd, expected) => {
    expect(childExpiry(aSession({ expiresAt: parentEnd }), 1_000, NOW)).toEqual(expected)
  })
})

describe('the earliest expiry of a child from the database', () => {
  it.each([
    ['is half the delegated lifetime ahead', null, undefined, at(500)],
    ['is half of an odd lifetime ahead to the half second', null, undefined, at(500.5), 1_001],
    ['is the minimum ahead, where one is given', null, 300, at(300)],
    ['is the minimum ahead, where that is more than half', null, 700, at(700)],
    ["is the parent's expiry, where that is earlier", at(400), undefined, at(400)],
    ["is the parent's expiry, where that is earlier than the minimum", at(400), 500, at(400)],
    ["is not the parent's expiry, where that is later", at(501), undefined, at(500)],
  ])('%s', (_what, parentEnd, minimum, expected, lifetime = 1_000) => {
    expect(minimumExpiry(aSession({ expiresAt: parentEnd }), minimum, lifetime, NOW)).toEqual(expected)
  })
})

describe('a cached child is reused', () => {
  const parent = aSession()

  it.each([
    ['when it was just made', 0, true],
    ['a second before half of its life is gone', 499, true],
    ['when exactly half of its life is left', 500, true],
    ['but not a second later', 501, false],
    ['but not when its life is over', 1_000, false],
  ])('%s', (_what, seconds, reused) => {
    expect(isReusable(anInternalToken(), parent, INTERNAL, undefined, at(seconds))).toBe(reused)
    expect(isReusable(aNotebookToken(), parent, NOTEBOOK, undefined, at(seconds))).toBe(reused)
  })

  it.each([
    ['with 501 s left', 500, true],
    ['but not with 500 s left', 501, false],
  ])('at half of a lifetime of 1,001 s, %s', (_what, seconds, reused) => {
    const child = anInternalToken({ expiresAt: at(1_001) })

    expect(isReusable(child, parent, INTERNAL, undefined, at(seconds))).toBe(reused)
  })

  it.each([
    ['when exactly the minimum is left', 300, 700, true],
    ['but not with a second less', 301, 700, false],
    ['past half of its life, where less is asked for', 700, 300, true],
    ['but not before half of its life, where more is asked for', 400, 601, false],
  ])('with a minimum, %s', (_what, seconds, minimum, reused) => {
    expect(isReusable(anInternalToken(), parent, INTERNAL, minimum, at(seconds))).toBe(reused)
  })

  it.each([
    ['to its last second', 999, undefined, true],
    ['but not after', 1_000, undefined, false],
    ['with a minimum that is left', 700, 300, true],
    ['but not with a minimum that is not', 701, 300, false],
  ])('where it expires with its parent, %s', (_what, seconds, minimum, reused) => {
    const ending = aSession({ expiresAt: at(1_000) })

    expect(isReusable(anInternalToken(), ending, INTERNAL, minimum, at(seconds))).toBe(reused)
    expect(isReusable(aNotebookToken(), ending, NOTEBOOK, minimum, at(seconds))).toBe(reused)
  })

  it('until half of its lifetime where the parent never expires', () => {
    const endless = aSession({ expiresAt: null })

    expect(isReusable(anInternalToken(), endless, INTERNAL, undefined, at(500))).toBe(true)
    expect(isReusable(anInternalToken(), endless, INTERNAL, undefined, at(501))).toBe(false)
  })

  it.each([
    ['the same scopes', ['read:all', 'read:tap'], true],
    ['fewer scopes', ['read:all'], false],
    ['no scopes', [], false],
    ['another scope', ['exec:notebook'], false],
    ['one scope more', ['exec:notebook', 'read:all', 'read:tap'], false],
  ])('as an internal token with %s than requested: %s', (_what, scopes, reused) => {
    const request: DelegationRequest = { type: 'internal', service: 'tap', scopes: ['read:all', 'read:tap'] }

    expect(isReusable(anInternalToken({ scopes }), parent, request, undefined, NOW)).toBe(reused)
  })

  it.each([
    ["all the parent's scopes", ['read:all', 'user:token'], true],
    ['a scope that the parent has lost', ['exec:notebook', 'read:all', 'user:token'], false],
    ['without a scope that the parent has gained', ['read:all'], false],
  ])('as a notebook token with %s: %s', (_what, scopes, reused) => {
    expect(isReusable(aNotebookToken({ scopes }), parent, NOTEBOOK, undefined, NOW)).toBe(reused)
  })

  it.each<[string, TokenData, DelegationRequest]>([
    ['a notebook token for a service', aNotebookToken({ scopes: ['read:all'] }), INTERNAL],
    ['an internal token for a notebook', anInternalToken({ scopes: parent.scopes }), NOTEBOOK],
    ['a session for a service', aSession({ scopes: ['read:all'] }), INTERNAL],
    ['a token that never expires', anInternalToken({ expiresAt: null }), INTERNAL],
  ])('but never %s', (_what, child, request) => {
    expect(isReusable(child, parent, request, undefined, NOW)).toBe(false)
  })

  it('at once when it was just issued, whatever was requested', () => {
    const wishes = fc
      .record({
        lifetime: fc.integer({ min: 600, max: 1e7 }),
        left: fc.option(fc.integer({ min: 300, max: 1e7 })),
      })
      .chain(({ lifetime, left }) => {
        const most = Math.min(lifetime - 300, left ?? lifetime)
        const minimum = fc.option(fc.integer({ min: 300, max: most }), { nil: undefined })
        return fc.record({
          lifetime: fc.constant(lifetime),
          left: fc.constant(left),
          minimum,
          request: requests,
        })
      })
    fc.assert(
      fc.property(wishes, ({ lifetime, left, minimum, request }) => {
        const from = aSession({ expiresAt: left === null ? null : at(left) })
        requireMinimumLifetime(minimum, lifetime)
        requireParentLifetime(from, minimum, NOW)
        const facts = {
          createdAt: NOW,
          expiresAt: childExpiry(from, lifetime, NOW),
          scopes: childScopes(from, request),
        }
        const child = request.type === 'internal' ? anInternalToken(facts) : aNotebookToken(facts)

        expect(isReusable(child, from, request, minimum, NOW)).toBe(true)
        expect(facts.expiresAt >= minimumExpiry(from, minimum, lifetime, NOW)).toBe(true)
      }),
    )
  })

  it('only while it is live, and only with the requested minimum lifetime', () => {
    const seconds = fc.integer({ min: -100, max: 2_000 })
    const minimum = fc.option(fc.integer({ min: 300, max: 1_000 }), { nil: undefined })
    fc.assert(
      fc.property(seconds, seconds, minimum, (end, now, least) => {
        const ending = aSession({ expiresAt: at(1_000) })
        const child = anInternalToken({ expiresAt: at(end) })
        if (!isReusable(child, ending, INTERNAL, least, at(now))) return
        expect(secondsUntil(child.expiresAt, at(now))).toBeGreaterThanOrEqual(least ?? 1)
      }),
    )
  })
})

describe('a child outlives its parent', () => {
  it.each([
    ['where it ends a second later', at(1), at(0), true],
    ['but not where both end together', at(1), at(1), false],
    ['but not where it ends a second earlier', at(0), at(1), false],
    ['but not where its parent never expires', at(1), null, false],
  ])('%s', (_what, childEnd, parentEnd, expected) => {
    expect(outlives({ expiresAt: childEnd }, aSession({ expiresAt: parentEnd }))).toBe(expected)
  })
})

describe('the two stores agree on a child', () => {
  const child = anInternalToken({ scopes: ['read:all', 'read:tap'] })
  const record: ChildRecord = {
    parentKey: aToken('parent').key,
    type: 'internal',
    service: 'tap',
    scopes: ['read:all', 'read:tap'],
    key: child.token.key,
    username: 'wren',
    expiresAt: at(1_000),
  }

  it('where type, user, service, scopes and expiry are the same', () => {
    expect(agrees(child, record)).toBe(true)
    const notebook: ChildRecord = {
      ...record,
      type: 'notebook',
      service: null,
      scopes: aNotebookToken().scopes,
    }
    expect(agrees(aNotebookToken(), notebook)).toBe(true)
  })

  it.each<[string, Partial<ChildRecord>]>([
    ['type', { type: 'notebook' }],
    ['user', { username: 'robin' }],
    ['service', { service: 'tap2' }],
    ['service, of which there is none', { service: null }],
    ['scopes', { scopes: ['read:all'] }],
    ['end', { expiresAt: at(1_001) }],
  ])('but not where the %s differs', (_what, difference) => {
    expect(agrees(child, { ...record, ...difference })).toBe(false)
  })

  it('but not where the token store has one that never expires', () => {
    expect(agrees({ ...child, expiresAt: null }, record)).toBe(false)
  })
})
