import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  formatScopes,
  isSameScopes,
  isWithin,
  parseScopes,
  requireDelegable,
  requireHeld,
  requireKnown,
  SCOPE_NAME,
  toScopes,
  withoutUndelegable,
} from '../../src/domain/scope.ts'
import { failure } from '../support/checks/failures.ts'
import { scopeSets } from '../support/tokens/token-data.ts'

const KNOWN = new Map([
  ['read:all', 'Read all'],
  ['admin:token', 'Administer'],
])

describe('a set of scopes', () => {
  it('is sorted by code point and free of duplicates', () => {
    expect(toScopes(['read:tap', 'exec:a', 'Exec:b', 'read:tap', 'exec:_', 'exec:1'])).toEqual([
      'Exec:b',
      'exec:1',
      'exec:_',
      'exec:a',
      'read:tap',
    ])
  })

  it('is the same whatever the order and the repetitions it was named in', () => {
    fc.assert(
      fc.property(
        scopeSets.chain((set) =>
          fc.tuple(fc.constant(set), fc.shuffledSubarray([...set, ...set], { minLength: set.length * 2 })),
        ),
        ([set, named]) => {
          expect(toScopes(named)).toEqual(set)
          expect(isSameScopes(toScopes(named), set)).toBe(true)
        },
      ),
    )
  })

  it('is written with commas, the empty set as the empty string, and read as it was written', () => {
    expect(formatScopes(toScopes(['read:tap', 'exec:notebook']))).toBe('exec:notebook,read:tap')
    expect(formatScopes([])).toBe('')
    fc.assert(
      fc.property(scopeSets, (set) => {
        expect(parseScopes(formatScopes(set))).toEqual(set)
      }),
    )
  })

  it('is read from a column that is not sorted', () => {
    expect(parseScopes('read:tap,exec:notebook,read:tap')).toEqual(['exec:notebook', 'read:tap'])
  })

  it.each([
    ['the empty set in any', [], ['a'], true],
    ['the empty set in the empty set', [], [], true],
    ['a set in itself', ['a', 'b'], ['a', 'b'], true],
    ['a smaller set', ['b'], ['a', 'b'], true],
    ['a larger set', ['a', 'b'], ['b'], false],
    ['any in the empty set', ['a'], [], false],
    ['a name that only begins the same', ['read:all'], ['read:all:more'], false],
  ])('is within another or not: %s', (_what, inner, outer, within) => {
    expect(isWithin(inner, outer)).toBe(within)
  })

  it.each([
    ['another order of names is the same', toScopes(['a', 'b']), toScopes(['b', 'a']), true],
    ['one name more is another', ['a'], ['a', 'b'], false],
    ['the empty set is the same as itself', [], [], true],
  ])('is compared as a set: %s', (_what, left, right, same) => {
    expect(isSameScopes(left, right)).toBe(same)
  })
})

describe('requested scopes', () => {
  it('pass where all are known and held', () => {
    expect(() => requireKnown(['admin:token', 'read:all'], KNOWN)).not.toThrow()
    expect(() => requireHeld(['read:all'], ['exec:notebook', 'read:all'])).not.toThrow()
  })

  it('are accepted where there are none', () => {
    expect(() => requireKnown([], KNOWN)).not.toThrow()
    expect(() => requireHeld([], [])).not.toThrow()
  })

  it('are refused where the configuration does not know them, each by name, with those it knows', () => {
    expect(() => requireKnown(['nope:a', 'read:all', 'nope:b'], KNOWN)).toThrow(
      failure('INVALID_SCOPES', {
        message: 'Unknown scopes: "nope:a", "nope:b". Known scopes: admin:token, read:all.',
        facts: { unknownScopes: ['nope:a', 'nope:b'], knownScopes: ['admin:token', 'read:all'] },
      }),
    )
  })

  it('are refused where the current token does not hold them, admins included', () => {
    expect(() => requireHeld(['read:all', 'read:tap'], ['admin:token', 'read:all'])).toThrow(
      failure('INVALID_SCOPES', {
        message: 'The current token does not hold these scopes: "read:tap". It holds: admin:token, read:all.',
        facts: { missingScopes: ['read:tap'], heldScopes: ['admin:token', 'read:all'] },
      }),
    )
    expect(() => requireHeld(['read:tap'], [])).toThrow(/It holds: no scopes/)
  })
})

describe('scopes that are never delegated', () => {
  const undelegable = new Set(['admin:token', 'delegate:token'])

  it('are refused by name where they are requested', () => {
    expect(() => requireDelegable(['read:all'], undelegable)).not.toThrow()
    expect(() => requireDelegable(['admin:token', 'read:all'], undelegable)).toThrow(
      failure('INVALID_SCOPES', {
        message: expect.stringMatching(/^These scopes are never delegated: "admin:token"\. /),
        facts: { undelegableScopes: ['admin:token'] },
      }),
    )
  })

  it('are left out of what a parent can delegate, and the others keep their order', () => {
    fc.assert(
      fc.property(scopeSets, (scopes) => {
        expect(withoutUndelegable(scopes, undelegable)).toEqual(
          scopes.filter((scope) => !undelegable.has(scope)),
        )
      }),
    )
  })

  it('are filtered without a new list where there are none', () => {
    const scopes = ['read:all', 'read:tap']
    expect(withoutUndelegable(scopes, undelegable)).toBe(scopes)
  })
})

it.each(['read:all', 'a', 'Exec.1-x_y:z'])('%s is a name that a scope may have', (name) => {
  expect(name).toMatch(SCOPE_NAME)
})

it.each([
  ['nothing', ''],
  ['a comma', 'a,b'],
  ['a blank', 'a b'],
  ['a line feed', 'a\n'],
  ['a letter of another alphabet', 'ä'],
  ['a quotation mark', 'a"'],
])('%s is not the name of a scope', (_what, name) => {
  expect(name).not.toMatch(SCOPE_NAME)
})
