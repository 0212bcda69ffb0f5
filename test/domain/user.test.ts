import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { NO_USER_INFO } from '../../src/domain/token.ts'
import {
  isUsername,
  requireBotUsername,
  requireTokenName,
  requireUserInfo,
  requireUsername,
} from '../../src/domain/user.ts'
import { failure } from '../support/checks/failures.ts'
import { userInfos } from '../support/tokens/token-data.ts'

describe('a username', () => {
  it.each(['ab', '1a', 'bot-1', '12-ab', 'wren', 'a1b2-c3d', 'bot-svc-2', `a${'b'.repeat(63)}`])(
    'may be %s',
    (username) => {
      expect(isUsername(username)).toBe(true)
      expect(() => requireUsername(username)).not.toThrow()
    },
  )

  it.each([
    ['empty', ''],
    ['one letter', 'a'],
    ['a letter and a digit', 'a1'],
    ['single letters with hyphens', 'a-b'],
    ['a digit, a hyphen and a letter', '1-a'],
    ['digits only', '1234567'],
    ['begun with a hyphen', '-ab'],
    ['ended with a hyphen', 'ab-'],
    ['with two hyphens in a row', 'a--b'],
    ['with two hyphens in a row, and otherwise fine', 'ab--cd'],
    ['in upper case', 'AB'],
    ['capitalised', 'Wren'],
    ['<bootstrap>', '<bootstrap>'],
    ['of 65 characters', 'a'.repeat(65)],
    ['with a line feed behind', 'wren\n'],
    ['with an underscore', 'wren_o'],
    ['with a dot', 'wren.o'],
    ['with a blank', 'wren o'],
    ['with a letter of another alphabet', 'wrén'],
    ['with a letter that looks like ours', 'wrеn'],
    ['with digits of another script', 'wren١'],
  ])('may not be %s', (_what, username) => {
    expect(isUsername(username)).toBe(false)
    expect(() => requireUsername(username)).toThrow(failure('INVALID_USERNAME'))
  })

  it('is hyphenated runs of a-z and 0-9, with a letter right behind another of them', () => {
    const nearly = fc.string({ unit: fc.constantFrom('a', 'b', '1', '-'), maxLength: 8 })
    fc.assert(
      fc.property(nearly, (text) => {
        const runs = text.split('-')
        const expected = runs.every((run) => run !== '') && runs.some((run) => /.[ab]/.test(run))
        expect(isUsername(text)).toBe(expected)
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('the username of a bot', () => {
  it.each(['bot-svc', 'bot-1', 'bot-a', 'bot-svc-2'])('may be %s', (username) => {
    expect(() => requireBotUsername(username)).not.toThrow()
  })

  it.each([
    'bot',
    'botuser',
    'bot-',
    'wren',
    'a-bot-x',
    'bot--a',
    'Bot-a',
    'bot-a\n',
    `bot-${'a'.repeat(61)}`,
  ])('may not be %j', (username) => {
    expect(() => requireBotUsername(username)).toThrow(failure('INVALID_USERNAME'))
  })
})

describe('the name of a token', () => {
  it.each([
    ['one blank', ' '],
    ['64 characters', 'x'.repeat(64)],
    ['64 characters beyond the basic plane', '🦉'.repeat(64)],
    ['blanks and quotation marks', ' laptop "at home" '],
  ])('may be %s', (_what, name) => {
    expect(() => requireTokenName(name)).not.toThrow()
  })

  it.each([
    ['empty', ''],
    ['65 characters', 'x'.repeat(65)],
    ['65 characters beyond the basic plane', '🦉'.repeat(65)],
    ['one with NUL in it, which PostgreSQL cannot keep', 'a\0b'],
    ['one with a line end', 'a\nb'],
    ['one with a line separator of Unicode', 'a\u2028b'],
    ['one with an escape sequence of terminals', 'a\u001b[31mb'],
    ['one that is shown from right to left', 'a\u202eb'],
    ['one with a space that is not seen', 'a\u200bb'],
    ['one with half of a surrogate pair', 'a\ud800b'],
  ])('may not be %s', (_what, name) => {
    expect(() => requireTokenName(name)).toThrow(failure('INVALID_TOKEN_NAME'))
  })
})

describe('user information', () => {
  it('may be absent, and any text that can be kept', () => {
    expect(() => requireUserInfo(NO_USER_INFO)).not.toThrow()
    expect(() => requireUserInfo({ ...NO_USER_INFO, uid: 1, gid: 1, groups: [] })).not.toThrow()
    fc.assert(
      fc.property(userInfos, (info) => {
        fc.pre(!/[\0\p{Surrogate}]/u.test(`${info.name}${info.email}`))
        requireUserInfo(info)
      }),
    )
  })

  it.each(['19numbers', '1-g', 'g_x', 'G-1', 'g', '0a', 'g.x'])('may name a group %s', (name) => {
    expect(() => requireUserInfo({ ...NO_USER_INFO, groups: [{ name, id: -1 }] })).not.toThrow()
  })

  it.each(['12345', '1-', '_rra', '-rra', '.rra', 'rra#x', '', 'r a', 'rra\n', 'ä'])(
    'may not name a group %j',
    (name) => {
      expect(() => requireUserInfo({ ...NO_USER_INFO, groups: [{ name, id: 1 }] })).toThrow(
        failure('INVALID_USER_INFO', { message: expect.stringContaining('groups.0.name') }),
      )
    },
  )

  it.each([
    ['an empty name', { name: '' }, 'name'],
    ['an empty e-mail address', { email: '' }, 'email'],
    ['a name that is too long', { name: 'x'.repeat(257) }, 'name'],
    ['an e-mail address with a NUL', { email: 'a\0b' }, 'email'],
    ['a name with half of a surrogate pair', { name: 'wr\ud800en' }, 'name'],
    ['a group name that is too long', { groups: [{ name: 'x'.repeat(257), id: 1 }] }, 'groups.0.name'],
    ['a uid of 0', { uid: 0 }, 'uid'],
    ['a negative uid', { uid: -1 }, 'uid'],
    ['a gid of 0', { gid: 0 }, 'gid'],
  ])('may not have %s', (_what, facts, field) => {
    expect(() => requireUserInfo({ ...NO_USER_INFO, ...facts })).toThrow(
      failure('INVALID_USER_INFO', { message: expect.stringMatching(`^userInfo: ${field} must`) }),
    )
  })

  it('is refused with all its invalid fields named at once', () => {
    const groups = [
      { name: 'fine', id: 1 },
      { name: '-', id: 2 },
    ]
    expect(() => requireUserInfo({ name: '', email: '', uid: 0, gid: 0, groups })).toThrow(
      /name must.*; email must.*; uid must.*; gid must.*; groups\.1\.name must/,
    )
  })
})
