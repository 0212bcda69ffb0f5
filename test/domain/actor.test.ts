import { describe, expect, it } from 'vitest'
import {
  type Actor,
  actorName,
  actorScopes,
  isAdmin,
  maySee,
  requireAdmin,
  requireMayChangeTokens,
  requireMayRevoke,
  requireSelfOrAdmin,
  requireTokenData,
  visibilityOf,
} from '../../src/domain/actor.ts'
import { failure } from '../support/checks/failures.ts'
import { aNotebookToken, anInternalToken, aSession, aToken } from '../support/tokens/token-data.ts'

const BOOTSTRAP: Actor = { kind: 'bootstrap' }
const OPERATOR: Actor = { kind: 'operator' }

/** Somebody called wren, whose token holds `scopes`. */
const wren = (...scopes: string[]): Actor => ({ kind: 'token', data: aSession({ username: 'wren', scopes }) })

const DENIED = failure('PERMISSION_DENIED')

describe('an actor', () => {
  it.each([
    ['the bootstrap token is an admin', BOOTSTRAP, '<bootstrap>', ['admin:token'], true],
    ['the operator at the machine is an admin', OPERATOR, '<internal>', ['admin:token'], true],
    ['a token with admin:token is an admin', wren('admin:token'), 'wren', ['admin:token'], true],
    ['a token with user:token is not', wren('user:token'), 'wren', ['user:token'], false],
    [
      'a token with a scope that is named similarly is not',
      wren('admin:tokens'),
      'wren',
      ['admin:tokens'],
      false,
    ],
    ['a token without scopes is not', wren(), 'wren', [], false],
  ])('%s', (_what, actor, name, scopes, admin) => {
    expect(actorName(actor)).toBe(name)
    expect(actorScopes(actor)).toEqual(scopes)
    expect(isAdmin(actor)).toBe(admin)
  })
})

describe('whose tokens and history an actor may see', () => {
  it.each([
    ['the bootstrap token: those of every user', BOOTSTRAP, null, true],
    ['the operator: those of every user', OPERATOR, null, true],
    ['a token with admin:token: those of every user', wren('admin:token'), null, true],
    ['a token with user:token: those of its user', wren('user:token'), 'wren', false],
    ['a token without scopes: those of its user', wren(), 'wren', false],
  ])('%s', (_what, actor, visibility, seesOthers) => {
    expect(visibilityOf(actor)).toBe(visibility)
    expect(maySee(actor, 'wren')).toBe(true)
    expect(maySee(actor, 'finch')).toBe(seesOthers)
  })
})

describe('what admins may', () => {
  it.each([
    ['the bootstrap token', BOOTSTRAP],
    ['the operator', OPERATOR],
    ['a token with admin:token', wren('admin:token')],
  ])('%s may', (_who, actor) => {
    expect(() => requireAdmin(actor)).not.toThrow()
  })

  it.each([
    ['a token with user:token', wren('user:token')],
    ['a token without scopes', wren()],
  ])('%s may not', (_who, actor) => {
    expect(() => requireAdmin(actor)).toThrow(DENIED)
  })
})

describe('what one may with the tokens of a user', () => {
  it.each([
    ['oneself, with user:token', wren('user:token'), 'wren'],
    ['oneself, with admin:token alone', wren('admin:token'), 'wren'],
    ['somebody else, with admin:token', wren('admin:token'), 'robin'],
    ['anybody, with the bootstrap token', BOOTSTRAP, 'wren'],
    ['anybody, as the operator', OPERATOR, 'wren'],
  ])('is allowed for %s', (_what, actor, username) => {
    expect(() => requireSelfOrAdmin(actor, username)).not.toThrow()
  })

  it.each([
    ['oneself, without user:token', wren('read:all'), 'wren'],
    ['oneself, without any scope', wren(), 'wren'],
    ['somebody else, with user:token', wren('user:token'), 'robin'],
    ['somebody whose name only begins the same', wren('user:token'), 'wren2'],
    ['nobody', wren('user:token'), ''],
  ])('is denied for %s', (_what, actor, username) => {
    expect(() => requireSelfOrAdmin(actor, username)).toThrow(DENIED)
  })
})

describe('what creates and modifies tokens', () => {
  it.each([
    ['internal', anInternalToken({ scopes: ['admin:token', 'user:token'] })],
    ['notebook', aNotebookToken({ scopes: ['admin:token', 'user:token'] })],
  ])('is denied to an %s token, whatever its scopes, unless that is configured', (_what, data) => {
    const actor: Actor = { kind: 'token', data }
    expect(() => requireMayChangeTokens(actor, false)).toThrow(DENIED)
    expect(() => requireMayChangeTokens(actor, true)).not.toThrow()
  })

  it.each([
    ['the bootstrap token', BOOTSTRAP],
    ['the operator', OPERATOR],
    ['a session', wren()],
  ])('is not denied to %s as such', (_who, actor) => {
    expect(() => requireMayChangeTokens(actor, false)).not.toThrow()
  })
})

describe('who may revoke a token', () => {
  const data = anInternalToken({ scopes: [] })

  it('is always its holder, without any scope', () => {
    expect(() => requireMayRevoke({ kind: 'token', data }, data.token.key)).not.toThrow()
  })

  it.each([
    ['somebody with user:token', wren('user:token'), true],
    ['somebody with admin:token', wren('admin:token'), true],
    ['the bootstrap token', BOOTSTRAP, true],
    ['somebody with neither, who holds another token', { kind: 'token', data }, false],
  ] as const)('is, of another token, %s: %o', (_who, actor, may) => {
    const revoke = () => requireMayRevoke(actor, aToken('another').key)
    if (may) expect(revoke).not.toThrow()
    else expect(revoke).toThrow(DENIED)
  })
})

describe('what needs a user', () => {
  it('is done with the token of one', () => {
    const actor = wren()

    expect(requireTokenData(actor)).toBe(actor.kind === 'token' && actor.data)
  })

  it.each([
    ['the bootstrap token', BOOTSTRAP],
    ['the operator', OPERATOR],
  ])('is denied to %s, which belongs to no user', (_who, actor) => {
    expect(() => requireTokenData(actor)).toThrow(DENIED)
  })
})
