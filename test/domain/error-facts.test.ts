import { describe, expect, it } from 'vitest'
import { requireAdmin, requireSelfOrAdmin } from '../../src/domain/actor.ts'
import {
  type DelegationLimits,
  requireDepth,
  requireMinimumLifetime,
  requireParentLifetime,
  requireRoom,
  requireService,
} from '../../src/domain/delegation.ts'
import { MAX_LISTED, PorthorError } from '../../src/domain/errors.ts'
import { requireSearchable } from '../../src/domain/filter.ts'
import { parseAddressFilter } from '../../src/domain/ip-address.ts'
import { requireExpiry } from '../../src/domain/lifetime.ts'
import { parsePage } from '../../src/domain/page.ts'
import { requireKnown } from '../../src/domain/scope.ts'
import { NO_USER_INFO } from '../../src/domain/token.ts'
import {
  isUsername,
  requireBotUsername,
  requireTokenName,
  requireUserInfo,
  requireUsername,
} from '../../src/domain/user.ts'
import { failure } from '../support/checks/failures.ts'
import { aSession } from '../support/tokens/token-data.ts'

const NOW = new Date('2026-01-31T12:00:00Z')
const LIMITS: DelegationLimits = {
  undelegableScopes: new Set(),
  services: undefined,
  maxDepth: 5,
  maxChildren: 9,
}
const actor = { kind: 'token', data: aSession({ scopes: [] }) } as const

function factsOf(act: () => unknown): PorthorError['facts'] {
  try {
    act()
  } catch (error) {
    if (error instanceof PorthorError) return error.facts
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('an error has as fields what its message states in words:', () => {
  it.each([
    ['the scope of an admin', () => requireAdmin(actor), { sufficientScopes: ['admin:token'] }],
    [
      'the scopes of which one is enough',
      () => requireSelfOrAdmin(actor, actor.data.username),
      { sufficientScopes: ['user:token', 'admin:token'] },
    ],
    ['the pattern of a service', () => requireService('a b'), { pattern: '^[A-Za-z0-9._-]{1,64}$' }],
    [
      'the bounds of minimumLifetime, in seconds',
      () => requireMinimumLifetime(1, 1000),
      { minimum: 300, maximum: 700 },
    ],
    [
      'the lifetime that the current token must have left, in seconds',
      () => requireParentLifetime(aSession({ expiresAt: NOW }), 400, NOW),
      { minimum: 400 },
    ],
    ['the greatest depth of delegations', () => requireDepth(5, LIMITS), { maximum: 5 }],
    ['the greatest number of children', () => requireRoom(9, LIMITS), { maximum: 9 }],
    [
      'the bounds of expiresAt, as times',
      () => requireExpiry(NOW, NOW),
      { minimum: '2026-01-31T12:05:00.000Z', maximum: '2603-10-11T11:33:20.000Z' },
    ],
    [
      'the bounds of a time in a filter',
      () => requireSearchable({ since: new Date('-000001-01-01T00:00:00Z') }),
      { minimum: '0001-01-01T00:00:00.000Z', maximum: '9999-12-31T23:59:59.999Z' },
    ],
    ['the bounds of a page size', () => parsePage('token', { first: 0 }), { minimum: 1, maximum: 500 }],
    [
      'the block without bits after its prefix',
      () => parseAddressFilter('192.0.2.1/24'),
      { network: '192.0.2.0/24' },
    ],
    ['the bounds of the length of a token name', () => requireTokenName(''), { minimum: 1, maximum: 64 }],
    [
      'the fields of userInfo that are not valid',
      () => requireUserInfo({ ...NO_USER_INFO, name: '', uid: 0, groups: [{ name: '1', id: 1 }] }),
      { fields: ['name', 'uid', 'groups.0.name'] },
    ],
  ])('%s', (_what, act, facts) => {
    expect(factsOf(act)).toEqual(facts)
  })

  it('the pattern and the length of a username, which together accept what the rule accepts', () => {
    const { pattern = '', minimum, maximum } = factsOf(() => requireUsername('-'))
    expect({ minimum, maximum }).toEqual({ minimum: 2, maximum: 64 })
    for (const name of ['wren', 'a1', '1a', '1-ab', 'a-1', '1-a', '12', 'a', 'a-', 'a--b', 'A', 'bot-x', ''])
      expect(new RegExp(pattern).test(name)).toBe(isUsername(name))
    expect(factsOf(() => requireBotUsername('wren')).pattern).toBe('^bot-[a-z0-9]+(-[a-z0-9]+)*$')
  })

  it('but no list of what a client sent that is longer than 20', () => {
    const names = Array.from({ length: 1_000 }, (_, index) => `no:${index}`)
    expect(factsOf(() => requireKnown(names, new Map())).unknownScopes).toEqual(names.slice(0, MAX_LISTED))
    const groups = names.map((name, id) => ({ name, id }))
    expect(factsOf(() => requireUserInfo({ ...NO_USER_INFO, groups })).fields).toHaveLength(MAX_LISTED)
  })

  it('and none where the message states no values', () => {
    expect(() => parsePage('token', { after: '?' })).toThrow(failure('INVALID_CURSOR', { facts: {} }))
  })
})
