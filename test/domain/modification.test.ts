import { describe, expect, it } from 'vitest'
import { commonGrant } from '../../src/domain/grant.ts'
import {
  type CheckedModification,
  type EditableRow,
  findGrantEdit,
  grantBelow,
  isAboutGrant,
  isEmptyModification,
  modificationEdit,
  requireModifiable,
  requireModification,
  withinParent,
} from '../../src/domain/modification.ts'
import { generateToken } from '../../src/domain/token.ts'
import { failure } from '../support/checks/failures.ts'
import { at, NOW } from '../support/tokens/token-data.ts'

const { key } = generateToken()

const ROW: EditableRow = { key, tokenName: 'laptop', scopes: ['read:all', 'user:token'], expiresAt: at(600) }

const NOTHING: CheckedModification = { tokenName: undefined, scopes: undefined, expiresAt: undefined }

const KNOWN = new Map([
  ['read:all', ''],
  ['user:token', ''],
])

describe('a requested modification', () => {
  it('has sorted, distinct scopes and an expiry in whole seconds once it is checked', () => {
    const requested = {
      tokenName: 'desk',
      scopes: ['user:token', 'read:all', 'read:all'],
      expiresAt: at(900.7),
    }

    expect(requireModification(requested, KNOWN, NOW)).toEqual({
      tokenName: 'desk',
      scopes: ['read:all', 'user:token'],
      expiresAt: at(900),
    })
  })

  it.each([
    ['an empty name', { tokenName: '' }, 'INVALID_TOKEN_NAME' as const],
    ['a scope that is not configured', { scopes: ['read:none'] }, 'INVALID_SCOPES' as const],
    ['an expiry in less than 300 s', { expiresAt: at(299) }, 'INVALID_EXPIRES' as const],
  ])('with %s is refused', (_what, requested, code) => {
    expect(() => requireModification(requested, KNOWN, NOW)).toThrow(failure(code))
  })

  it('without a value is empty, and one with null as its expiry or without any scope is not', () => {
    expect(isEmptyModification(NOTHING)).toBe(true)
    expect(isEmptyModification({ ...NOTHING, expiresAt: null })).toBe(false)
    expect(isEmptyModification({ ...NOTHING, scopes: [] })).toBe(false)
  })

  it('is about the grant with scopes or an expiry, not with a name alone', () => {
    expect(isAboutGrant({ ...NOTHING, tokenName: 'desk' })).toBe(false)
    expect(isAboutGrant({ ...NOTHING, scopes: [] })).toBe(true)
    expect(isAboutGrant({ ...NOTHING, expiresAt: null })).toBe(true)
  })

  it.each([
    ['a later expiry becomes that of the parent', at(900), at(600), at(600)],
    ['an earlier expiry stays', at(300), at(600), at(300)],
    ['no expiry becomes that of the parent', null, at(600), at(600)],
    ['any expiry stays where the parent never expires', at(900), null, at(900)],
    ['an expiry that is not modified stays so', undefined, at(600), undefined],
  ])('of a token with a parent: %s', (_what, expiresAt, parentExpiresAt, wanted) => {
    expect(withinParent({ ...NOTHING, expiresAt }, parentExpiresAt).expiresAt).toEqual(wanted)
  })
})

describe('only a user token can be modified', () => {
  it('a user token is returned', () => {
    const token = { type: 'user' } as const

    expect(requireModifiable(key, token)).toBe(token)
  })

  it('a token that does not exist is NOT_FOUND', () => {
    expect(() => requireModifiable(key, undefined)).toThrow(failure('NOT_FOUND'))
  })

  it.each(['session', 'notebook', 'internal', 'service', 'oidc'] as const)(
    'a token of type %s is refused',
    (type) => {
      expect(() => requireModifiable(key, { type })).toThrow(failure('PERMISSION_DENIED'))
    },
  )
})

describe('the edit of the modified token', () => {
  it('has the new values, and the old ones of what is modified only', () => {
    expect(modificationEdit(ROW, { ...NOTHING, expiresAt: null })).toEqual({
      ...ROW,
      expiresAt: null,
      old: { tokenName: undefined, scopes: undefined, expiresAt: at(600) },
    })
    expect(modificationEdit(ROW, { tokenName: 'desk', scopes: [], expiresAt: undefined })).toEqual({
      key,
      tokenName: 'desk',
      scopes: [],
      expiresAt: at(600),
      old: { tokenName: 'laptop', scopes: ROW.scopes, expiresAt: undefined },
    })
  })
})

describe('what a modification leaves to a descendant', () => {
  it.each([
    ['fewer scopes are removed', { scopes: ['read:all'] }, { scopes: ['read:all'] }],
    ['more scopes are not added', { scopes: ['admin:token', 'read:all', 'user:token'] }, {}],
    ['an earlier expiry applies', { expiresAt: at(300) }, { expiresAt: at(300) }],
    ['a later expiry does not', { expiresAt: at(900) }, {}],
    ['no expiry does not', { expiresAt: null }, {}],
    ['a name does not', { tokenName: 'desk' }, {}],
  ])('%s', (_what, modification, changed) => {
    const { scopes, expiresAt } = { ...ROW, ...changed }

    expect(grantBelow(ROW, { ...NOTHING, ...modification })).toEqual({ scopes, expiresAt })
  })
})

describe('the edit that gives a row another grant', () => {
  it('is not there for the grant that the row has', () => {
    expect(findGrantEdit(ROW, { scopes: [...ROW.scopes], expiresAt: at(600) })).toBeUndefined()
  })

  it('has the old values of what differs only, and keeps the name', () => {
    expect(findGrantEdit(ROW, { scopes: ['read:all'], expiresAt: at(600) })).toEqual({
      ...ROW,
      scopes: ['read:all'],
      old: { tokenName: undefined, scopes: ROW.scopes, expiresAt: undefined },
    })
    expect(findGrantEdit(ROW, { scopes: ROW.scopes, expiresAt: at(300) })).toEqual({
      ...ROW,
      expiresAt: at(300),
      old: { tokenName: undefined, scopes: undefined, expiresAt: at(600) },
    })
  })
})

it('two grants have in common the scopes that are in both, until the earlier expiry', () => {
  expect(commonGrant(ROW, { scopes: ['read:all', 'write:all'], expiresAt: null })).toEqual({
    scopes: ['read:all'],
    expiresAt: at(600),
  })
})
