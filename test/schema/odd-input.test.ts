import { beforeAll, describe, expect, it } from 'vitest'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { fieldOf } from '../support/requests/graphql.ts'

const PAGE = 'first: $first, after: $after, last: $last, before: $before'
const PAGE_TYPES = '$first: Int, $after: String, $last: Int, $before: String'

const TOKEN = 'query ($key: ID!) { token(key: $key) { key } }'
const TOKENS = `query ($username: String, ${PAGE_TYPES}) {
  tokens(username: $username, ${PAGE}) { totalCount nodes { key } } }`
const CHANGES = `query ($filter: TokenChangeFilter, ${PAGE_TYPES}) {
  tokenChanges(filter: $filter, ${PAGE}) { totalCount nodes { token } } }`
const REVOKE = 'mutation ($key: ID!) { revokeToken(key: $key) { keys } }'
const REVOKE_MANY = `mutation ($filter: RevokeTokensFilter!, $first: Int! = 1) {
  revokeTokens(filter: $filter, dryRun: true) { count keys(first: $first) } }`
const MODIFY = `mutation ($key: ID!, $input: ModifyTokenInput!) { modifyToken(key: $key, input: $input) { key } }`
const INTERNAL = `mutation ($service: String! = "tap", $scopes: [String!]! = [], $minimumLifetime: Int) {
  internalToken(service: $service, scopes: $scopes, minimumLifetime: $minimumLifetime) { key } }`
const NOTEBOOK = `mutation ($minimumLifetime: Int) { notebookToken(minimumLifetime: $minimumLifetime) { key } }`
const create = (type: string) => `mutation ($input: Create${type}TokenInput!) {
  create${type}Token(input: $input) { info { key } } }`
const [SESSION, SERVICE, USER] = [create('Session'), create('Service'), create('User')]

/** An argument: its name, the code that odd values get, and how a request holds one. */
type Argument = [name: string, code: string, query: string, variables: (value: unknown) => object]

const filter = (name: string) => (value: unknown) => ({ filter: { [name]: value } })
const argument = (name: string) => (value: unknown) => ({ [name]: value })
const user = (input: object) => ({ input: { username: 'robin', tokenName: 'odd', ...input } })
const group = (facts: object) => user({ userInfo: { groups: [{ name: 'g', id: 1, ...facts }] } })

const ODD_TEXTS = {
  'a NUL': 'wr\0en',
  'half of a surrogate pair': 'wr\ud800en',
  'two hundred thousand characters': `${'w'.repeat(199_999)}é`,
  'nothing in it': '',
}

const NO_INT = [2 ** 31, -(2 ** 31) - 1, 1e30, 1.5, '7']
const NO_DATE = [
  ['no text', 1e300],
  ['not ISO 8601', 'soon'],
  ['of a day that is none', '2026-02-30T00:00:00Z'],
  ['of a year with five digits', '+010000-01-01T00:00:00Z'],
  ['before the year 0', '-000001-01-01T00:00:00Z'],
  ['with a NUL behind', '2026-01-31T12:00:00Z\0'],
  ['half of a surrogate pair', '\ud800'],
  ['very long', '2'.repeat(200_000)],
] as const
const DATES_OUT_OF_RANGE = ['0000-01-01T00:00:00Z', '0001-01-01T00:00:00+23:59', '9999-12-31T23:59:59-23:59']

/** Phrases of messages that state what would be right. */
const HELPFUL = /must (be|begin|not)|There is no token|Known scopes|cannot represent/

describe('unusual input never causes an error of the server:', () => {
  const t = usePorthor('redis')
  let admin: string
  let key: string
  beforeAll(async () => {
    admin = await t.h.session('wren', ['admin:token'])
    const variables = { input: { username: 'robin', tokenName: 'laptop' } }
    const made = await t.h.ask(USER, { token: t.h.bootstrapToken, variables })
    key = fieldOf<{ info: { key: string } }>(made, 'createUserToken').info.key
  })
  const ask = (query: string, variables: object) =>
    t.h.ask(query, { token: admin, variables: { ...variables } })
  const refusalOf = async (query: string, variables: object) => {
    const { status, code, errors } = await ask(query, variables)
    expect(errors[0]?.message ?? 'granted').toMatch(HELPFUL)
    return [status, code]
  }

  it.each<Argument>([
    ['token(key)', 'NOT_FOUND', TOKEN, argument('key')],
    ['revokeToken(key)', 'NOT_FOUND', REVOKE, argument('key')],
    ['modifyToken(key)', 'NOT_FOUND', MODIFY, (value) => ({ key: value, input: { scopes: [] } })],
    ['modifyToken(tokenName)', 'INVALID_TOKEN_NAME', MODIFY, (tokenName) => ({ key, input: { tokenName } })],
    ['modifyToken(scopes)', 'INVALID_SCOPES', MODIFY, (scope) => ({ key, input: { scopes: [scope] } })],
    ['tokens(after)', 'INVALID_CURSOR', TOKENS, argument('after')],
    ['tokens(before)', 'INVALID_CURSOR', TOKENS, argument('before')],
    ['tokenChanges(after)', 'INVALID_CURSOR', CHANGES, argument('after')],
    ['tokenChanges(before)', 'INVALID_CURSOR', CHANGES, argument('before')],
    ['tokenChanges(ipAddress)', 'INVALID_IP_ADDRESS', CHANGES, filter('ipAddress')],
    ['createSessionToken(username)', 'INVALID_USERNAME', SESSION, (username) => ({ input: { username } })],
    [
      'createServiceToken(username)',
      'INVALID_USERNAME',
      SERVICE,
      (name) => ({ input: { username: `bot-${name}` } }),
    ],
    ['createUserToken(username)', 'INVALID_USERNAME', USER, (username) => user({ username })],
    ['createUserToken(tokenName)', 'INVALID_TOKEN_NAME', USER, (tokenName) => user({ tokenName })],
    ['createUserToken(scopes)', 'INVALID_SCOPES', USER, (scope) => user({ scopes: [scope] })],
    ['internalToken(service)', 'INVALID_SERVICE', INTERNAL, argument('service')],
    ['internalToken(scopes)', 'INVALID_SCOPES', INTERNAL, (scope) => ({ scopes: [scope] })],
    ['the name of a group', 'INVALID_USER_INFO', USER, (name) => group({ name: `${name}!` })],
  ])('an unusual text for %s is %s', async (_name, code, query, variables) => {
    for (const [what, text] of Object.entries(ODD_TEXTS)) {
      expect([what, ...(await refusalOf(query, variables(text)))]).toEqual([what, 200, code])
    }
  })

  it.each<Argument>([
    ['tokens(username)', 'tokens', TOKENS, argument('username')],
    ['tokenChanges(username)', 'tokenChanges', CHANGES, filter('username')],
    ['tokenChanges(actor)', 'tokenChanges', CHANGES, filter('actor')],
    ['tokenChanges(key)', 'tokenChanges', CHANGES, filter('key')],
    ['tokenChanges(token)', 'tokenChanges', CHANGES, filter('token')],
    ['revokeTokens(username)', 'revokeTokens', REVOKE_MANY, filter('username')],
    ['revokeTokens(service)', 'revokeTokens', REVOKE_MANY, filter('service')],
    ['revokeTokens(ancestor)', 'revokeTokens', REVOKE_MANY, filter('ancestor')],
  ])('an unusual text for %s finds nothing, and a NUL is refused', async (_name, field, query, variables) => {
    for (const [what, text] of Object.entries(ODD_TEXTS)) {
      if (what === 'a NUL') expect(await refusalOf(query, variables(text))).toEqual([200, 'INVALID_FILTER'])
      else {
        const { totalCount, count = totalCount } = fieldOf<Record<string, unknown>>(
          await ask(query, variables(text)),
          field,
        )
        expect([what, count]).toEqual([what, 0])
      }
    }
  })

  it.each(['name', 'email'])(
    'an unusual text for the %s of a user is stored, or refused as INVALID_USER_INFO',
    async (name) => {
      for (const [what, text] of Object.entries(ODD_TEXTS)) {
        const { status, code } = await ask(
          USER,
          user({ tokenName: `${name}, ${what}`, userInfo: { [name]: text } }),
        )
        expect([what, status]).toEqual([what, 200])
        expect([undefined, 'INVALID_USER_INFO']).toContain(code)
      }
    },
  )

  it.each<[...Argument, ...number[]]>([
    ['tokens(first)', 'INVALID_PAGE_SIZE', TOKENS, argument('first'), 0, 501],
    ['tokens(last)', 'INVALID_PAGE_SIZE', TOKENS, argument('last'), 0, 501],
    ['tokenChanges(first)', 'INVALID_PAGE_SIZE', CHANGES, argument('first'), 0, 501],
    ['tokenChanges(last)', 'INVALID_PAGE_SIZE', CHANGES, argument('last'), 0, 501],
    [
      'keys(first)',
      'INVALID_PAGE_SIZE',
      REVOKE_MANY,
      (first) => ({ filter: { username: 'robin' }, first }),
      10_001,
    ],
    ['internalToken(minimumLifetime)', 'INVALID_MINIMUM_LIFETIME', INTERNAL, argument('minimumLifetime'), 0],
    ['notebookToken(minimumLifetime)', 'INVALID_MINIMUM_LIFETIME', NOTEBOOK, argument('minimumLifetime'), 0],
    ['a uid', 'INVALID_USER_INFO', USER, (uid) => user({ userInfo: { uid } }), 0],
    ['a gid', 'INVALID_USER_INFO', USER, (gid) => user({ userInfo: { gid } }), 0],
  ])(
    'a number out of range for %s is %s, and one that is not an Int is an error of the query',
    async (...args) => {
      const [name, code, query, variables, ...others] = args
      const most = code === 'INVALID_USER_INFO' ? [] : [2 ** 31 - 1]
      for (const value of [-1, -(2 ** 31), ...most, ...others]) {
        expect([value, ...(await refusalOf(query, variables(value)))]).toEqual([value, 200, code])
      }
      for (const value of NO_INT) {
        expect([name, value, ...(await refusalOf(query, variables(value)))]).toEqual([
          name,
          value,
          400,
          'BAD_USER_INPUT',
        ])
      }
    },
  )

  it.each([2 ** 31 - 1, -(2 ** 31)])('the id of a group may be %i', async (id) => {
    const { errors } = await ask(USER, { input: { ...group({ id }).input, tokenName: `group ${id}` } })
    expect(errors).toEqual([])
  })

  it.each<Argument>([
    [
      'createServiceToken(expiresAt)',
      'INVALID_EXPIRES',
      SERVICE,
      (end) => ({ input: { username: 'bot-ci', expiresAt: end } }),
    ],
    ['createUserToken(expiresAt)', 'INVALID_EXPIRES', USER, (expiresAt) => user({ expiresAt })],
    ['modifyToken(expiresAt)', 'INVALID_EXPIRES', MODIFY, (expiresAt) => ({ key, input: { expiresAt } })],
    ['tokenChanges(since)', 'INVALID_FILTER', CHANGES, filter('since')],
    ['tokenChanges(until)', 'INVALID_FILTER', CHANGES, filter('until')],
    ['revokeTokens(createdBefore)', 'INVALID_FILTER', REVOKE_MANY, filter('createdBefore')],
  ])(
    'a time out of range for %s is %s, and a value that is not a time is an error of the query',
    async (_name, code, query, variables) => {
      for (const date of DATES_OUT_OF_RANGE) {
        expect([date, ...(await refusalOf(query, variables(date)))]).toEqual([date, 200, code])
      }
      for (const [what, value] of NO_DATE) {
        expect([what, ...(await refusalOf(query, variables(value)))]).toEqual([what, 400, 'BAD_USER_INPUT'])
      }
    },
  )
})
