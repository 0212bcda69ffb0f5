import { beforeAll, describe, expect, it } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { fieldOf, type GraphQLAnswer } from '../support/requests/graphql.ts'
import { statementsOf } from '../support/tokens/trees.ts'

const INFO = 'key username type tokenName service scopes createdAt expiresAt lastUsedAt'

const SESSION = 'createSessionToken'
const SERVICE = 'createServiceToken'
const USER = 'createUserToken'

const mutation = (name: string) => {
  const input = `C${name.slice(1)}Input`
  return `mutation ($input: ${input}!) { ${name}(input: $input) { token info { ${INFO} } } }`
}

const VIEWER = 'query { viewer { user { username name email uid gid groups { name id } } } }'

const WREN = {
  name: 'Wren Okafor',
  email: 'wren@example.org',
  uid: 70431,
  gid: 70432,
  groups: [
    { name: 'g_pipeline', id: 81205 },
    { name: 'wren', id: 70432 },
  ],
}

interface Created {
  readonly token: string
  readonly info: Record<string, unknown>
}

const createdBy = (answer: GraphQLAnswer): Created =>
  fieldOf(answer, Object.keys(answer.data ?? {})[0] ?? 'token')

let count = 0
const aName = () => `laptop ${++count}`

/** What `name` needs beside `input`, so that nothing else is at fault. */
const complete = (name: string, input: object) => ({
  username: name === SERVICE ? 'bot-ci' : 'wren',
  ...(name === USER && { tokenName: aName() }),
  ...input,
})

describe.each(['redis', 'postgres'] as const)('over %s', (store) => {
  const api = usePorthor(store)
  const asBootstrap = (name: string, input: object) =>
    api.h.ask(mutation(name), { token: api.h.bootstrapToken, variables: { input } })
  const inSeconds = (seconds: number) => new Date(api.h.clock.now().getTime() + seconds * 1000).toISOString()

  it.each([SESSION, SERVICE, USER])(
    'gets its response without another query, so that the database may be unavailable by then: %s',
    async (name) => {
      const cost = async (query: string) => {
        const variables = { input: complete(name, {}) }
        const statements = await statementsOf(async () =>
          createdBy(await api.h.ask(query, { token: api.h.bootstrapToken, variables })),
        )
        return statements.filter((text) => !text.startsWith('LISTEN')).length
      }
      const bare = mutation(name).replace(/info {.*?}/, '')
      // What is done once, when the stores are used first, is no cost of either.
      await cost(bare)
      expect(await cost(mutation(name))).toBe(await cost(bare))
    },
  )

  it('createSessionToken creates a session that expires after TOKEN_LIFETIME', async () => {
    const { token, info } = createdBy(
      await asBootstrap(SESSION, { username: 'wren', scopes: ['read:tap', 'read:all', 'read:tap'] }),
    )
    expect(token).toMatch(/^gt-[\w-]{22}\.[\w-]{22}$/)
    expect(info).toEqual({
      key: parseToken(token).key,
      username: 'wren',
      type: 'SESSION',
      tokenName: null,
      service: null,
      scopes: ['read:all', 'read:tap'],
      createdAt: inSeconds(0),
      expiresAt: inSeconds(30 * 86_400),
      lastUsedAt: null,
    })
  })

  it('createServiceToken creates a token for a bot', async () => {
    const { token, info } = createdBy(
      await asBootstrap(SERVICE, { username: 'bot-ci', scopes: ['read:all'], expiresAt: inSeconds(300) }),
    )
    expect(info).toEqual({
      key: parseToken(token).key,
      username: 'bot-ci',
      type: 'SERVICE',
      tokenName: null,
      service: null,
      scopes: ['read:all'],
      createdAt: inSeconds(0),
      expiresAt: inSeconds(300),
      lastUsedAt: null,
    })
  })

  it('createUserToken creates a token with a name', async () => {
    const { token, info } = createdBy(
      await asBootstrap(USER, { username: 'wren', tokenName: 'my laptop', scopes: ['read:all'] }),
    )
    expect(info).toEqual({
      key: parseToken(token).key,
      username: 'wren',
      type: 'USER',
      tokenName: 'my laptop',
      service: null,
      scopes: ['read:all'],
      createdAt: inSeconds(0),
      expiresAt: null,
      lastUsedAt: null,
    })
  })

  it.each([SESSION, SERVICE, USER])(
    '%s: the token authenticates requests, and has the given user information',
    async (name) => {
      const input = complete(name, { userInfo: WREN })
      const { token } = createdBy(await asBootstrap(name, input))
      const { data } = await api.h.ask(VIEWER, { token })
      expect(data).toEqual({ viewer: { user: { username: input.username, ...WREN } } })
    },
  )

  it.each([
    ['a session', SESSION, 'session'],
    ['a service token', SERVICE, 'service'],
    ['a user token', USER, 'user'],
  ])('the history event has the actor and the address of the creation of %s', async (_what, name, type) => {
    const input = complete(name, {})
    const { info } = createdBy(await asBootstrap(name, input))
    const entries = await api.h.sql(
      `SELECT username, token_type, token_name, parent, service, actor, action, host(ip_address) AS ip
       FROM token_change_history WHERE token = $1`,
      [info.key],
    )
    expect(entries).toEqual([
      {
        username: input.username,
        token_type: type,
        token_name: info.tokenName,
        parent: null,
        service: null,
        actor: '<bootstrap>',
        action: 'create',
        ip: '127.0.0.1',
      },
    ])
  })
})

describe('who may create what', () => {
  const api = usePorthor('postgres')
  const tokens: Record<string, string> = {}
  beforeAll(async () => {
    tokens['the bootstrap token'] = api.h.bootstrapToken
    tokens['an admin'] = await api.h.session('ada', ['admin:token'])
    tokens['the user, with user:token'] = await api.h.session('wren', ['user:token', 'read:all'])
    tokens['the user, without user:token'] = await api.h.session('wren', ['read:all'])
    tokens['another user, with user:token'] = await api.h.session('rook', ['user:token', 'read:all'])
  })
  const ask = (who: string, name: string, input: object) =>
    api.h.ask(mutation(name), { token: tokens[who] ?? '', variables: { input } })

  it.each([
    ['the bootstrap token', SESSION],
    ['the bootstrap token', SERVICE],
    ['the bootstrap token', USER],
    ['an admin', SESSION],
    ['an admin', SERVICE],
    ['an admin', USER],
    ['the user, with user:token', USER],
  ])('%s may: %s', async (who, name) => {
    const input = complete(name, {})
    expect(createdBy(await ask(who, name, input)).info).toMatchObject({ username: input.username })
  })

  it.each([
    ['the user, with user:token', SESSION],
    ['the user, with user:token', SERVICE],
    ['the user, without user:token', SESSION],
    ['the user, without user:token', SERVICE],
    ['the user, without user:token', USER],
    ['another user, with user:token', USER],
  ])('%s may not: %s', async (who, name) => {
    const answer = await ask(who, name, complete(name, {}))
    expect(answer).toMatchObject({ code: 'PERMISSION_DENIED', status: 403, data: null })
    expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="porthor", error="insufficient_scope"')
  })

  it('a token is created for the caller where no username is given', async () => {
    const { info } = createdBy(await ask('the user, with user:token', USER, { tokenName: aName() }))
    expect(info.username).toBe('wren')
    const admins = createdBy(await ask('an admin', USER, { tokenName: aName() }))
    expect(admins.info.username).toBe('ada')
  })

  it('the bootstrap token belongs to no user, and must give a username', async () => {
    const answer = await ask('the bootstrap token', USER, { tokenName: aName() })
    expect(answer).toMatchObject({ code: 'INVALID_USERNAME', status: 200, data: null })
  })

  it("a user's own token has only scopes of the current token", async () => {
    const own = (scopes: string[]) => ask('the user, with user:token', USER, { tokenName: aName(), scopes })
    expect(createdBy(await own(['read:all'])).info.scopes).toEqual(['read:all'])
    const answer = await own(['read:all', 'read:tap', 'admin:token'])
    expect(answer).toMatchObject({ code: 'INVALID_SCOPES', status: 200, data: null })
    expect(answer.errors[0]?.message).toContain('"admin:token", "read:tap"')
  })

  it.each([SESSION, SERVICE, USER])('an admin may grant any known scope: %s', async (name) => {
    const { info } = createdBy(await ask('an admin', name, complete(name, { scopes: ['exec:notebook'] })))
    expect(info.scopes).toEqual(['exec:notebook'])
  })

  it('the history event has the admin as its actor', async () => {
    const { info } = createdBy(await ask('an admin', SESSION, { username: 'wren' }))
    const [entry] = await api.h.sql('SELECT actor, username FROM token_change_history WHERE token = $1', [
      info.key,
    ])
    expect(entry).toEqual({ actor: 'ada', username: 'wren' })
  })
})

describe('user information', () => {
  const api = usePorthor('postgres')
  const create = async (token: string, name: string, input: object) =>
    api.h.ask(mutation(name), { token, variables: { input } })
  const userOf = async (created: Created) => (await api.h.ask(VIEWER, { token: created.token })).data?.viewer

  it("one's own token inherits it from the current token", async () => {
    const session = createdBy(
      await create(api.h.bootstrapToken, SESSION, {
        username: 'wren',
        scopes: ['user:token'],
        userInfo: WREN,
      }),
    )
    const own = createdBy(await create(session.token, USER, { tokenName: aName() }))
    expect(await userOf(own)).toEqual({ user: { username: 'wren', ...WREN } })
  })

  it.each([
    ['a user', ['user:token']],
    ['an admin', ['admin:token']],
  ])('cannot be given by %s for a token of their own', async (_who, scopes) => {
    const answer = await create(await api.h.session('ada', scopes), USER, {
      tokenName: aName(),
      userInfo: WREN,
    })
    expect(answer).toMatchObject({ code: 'INVALID_USER_INFO', status: 200, data: null })
  })

  it('of an admin is not copied to a token that the admin creates for another user', async () => {
    const admin = createdBy(
      await create(api.h.bootstrapToken, SESSION, {
        username: 'ada',
        scopes: ['admin:token'],
        userInfo: WREN,
      }),
    )
    const theirs = createdBy(await create(admin.token, USER, { username: 'rook', tokenName: aName() }))
    expect(await userOf(theirs)).toEqual({
      user: { username: 'rook', name: null, email: null, uid: null, gid: null, groups: [] },
    })
  })

  it.each([
    ['an empty name', { name: '' }, 'name'],
    ['an empty email', { email: '' }, 'email'],
    ['a uid of 0', { uid: 0 }, 'uid'],
    ['a gid of -1', { gid: -1 }, 'gid'],
    ['a group without a name', { groups: [{ name: '', id: 1 }] }, 'groups.0.name'],
    ['a group of digits only', { groups: [{ name: '12345', id: 1 }] }, 'groups.0.name'],
    [
      'a group that begins with _',
      {
        groups: [
          { name: 'ok', id: 1 },
          { name: '_x', id: 1 },
        ],
      },
      'groups.1.name',
    ],
    ['a group with a blank', { groups: [{ name: 'a b', id: 1 }] }, 'groups.0.name'],
  ])('is refused with INVALID_USER_INFO for %s, in every creation', async (_what, userInfo, field) => {
    for (const name of [SESSION, SERVICE, USER]) {
      const answer = await create(api.h.bootstrapToken, name, complete(name, { userInfo }))
      expect(answer).toMatchObject({ code: 'INVALID_USER_INFO', status: 200, data: null })
      expect(answer.errors[0]?.message).toContain(`${field} must`)
    }
  })

  const LARGE_GROUPS = [
    { name: 'small', gidNumber: 7 },
    { name: 'g_64', gidNumber: '9223372036854775807' },
    { name: 'g_53', gidNumber: 9007199254740991 },
  ]

  it.each([
    ['as strings of digits', { uidNumber: '9007199254740993', gidNumber: '5', allGroups: LARGE_GROUPS }],
    [
      'beside fields of type Int that agree',
      {
        uid: null,
        uidNumber: '9007199254740993',
        gid: 5,
        gidNumber: 5,
        groups: [{ name: 'small', id: 7 }],
        allGroups: LARGE_GROUPS,
      },
    ],
  ])('records numbers of up to 64 bits, given %s, in every creation', async (_what, userInfo) => {
    for (const name of [SESSION, SERVICE, USER]) {
      const made = createdBy(await create(api.h.bootstrapToken, name, complete(name, { userInfo })))
      expect((await api.h.stored(made.token)).userInfo).toEqual({
        name: null,
        email: null,
        uid: 9007199254740993n,
        gid: 5,
        groups: [
          { name: 'small', id: 7 },
          { name: 'g_64', id: 9223372036854775807n },
          { name: 'g_53', id: 9007199254740991 },
        ],
      })
    }
  })

  it('records numbers of up to 64 bits that are in the document itself, to the last digit', async () => {
    const document = `mutation { createSessionToken(input: { username: "wren", userInfo: {
      uidNumber: 9007199254740993, allGroups: [{ name: "g", gidNumber: -9223372036854775808 }] } }) { token } }`
    const answer = await api.h.ask(document, { token: api.h.bootstrapToken })
    const { token } = fieldOf<{ token: string }>(answer, 'createSessionToken')
    expect((await api.h.stored(token)).userInfo).toMatchObject({
      uid: 9007199254740993n,
      groups: [{ name: 'g', id: -9223372036854775808n }],
    })
  })

  it.each([
    ['a uid', { uid: 1, uidNumber: 2 }, /uid and uidNumber must be equal/],
    ['a gid', { gid: 1, gidNumber: '9007199254740993' }, /gid and gidNumber must be equal/],
    ['groups', { groups: [], allGroups: [{ name: 'g', gidNumber: 1 }] }, /groups must be those of allGroups/],
    [
      'the name of a group',
      { groups: [{ name: 'g', id: 1 }], allGroups: [{ name: 'h', gidNumber: 1 }] },
      /groups must be those of allGroups/,
    ],
    ['a uidNumber of 0', { uidNumber: 0 }, /uid must be at least 1/],
    ['a gidNumber below 0', { gidNumber: '-9223372036854775808' }, /gid must be at least 1/],
  ])(
    'is refused with INVALID_USER_INFO for %s that is contradictory or out of range',
    async (_what, userInfo, message) => {
      for (const name of [SESSION, SERVICE, USER]) {
        const answer = await create(api.h.bootstrapToken, name, complete(name, { userInfo }))
        expect(answer).toMatchObject({ code: 'INVALID_USER_INFO', status: 200, data: null })
        expect(answer.errors[0]?.message).toMatch(message)
      }
    },
  )

  it.each([
    9007199254740992,
    1.5,
    true,
    '9223372036854775808',
    '-9223372036854775809',
    '1e3',
    '0x1',
    '',
    '٣',
  ])('is refused as an error of the query for the BigInt %j, which is never rounded', async (uidNumber) => {
    const answer = await create(api.h.bootstrapToken, SESSION, { username: 'wren', userInfo: { uidNumber } })
    expect(answer).toMatchObject({ code: 'BAD_USER_INPUT', status: 400 })
    expect(answer.errors[0]?.message).toMatch(/must be an integer of up to 64 bits/)
  })

  it('is refused with all invalid fields named at once', async () => {
    const answer = await create(api.h.bootstrapToken, SESSION, {
      username: 'wren',
      userInfo: { name: '', uid: 0 },
    })
    expect(answer.errors[0]?.message).toMatch(/name must.*; uid must/)
  })
})

describe('the input of a creation:', () => {
  const api = usePorthor('postgres')
  const create = (name: string, input: object) =>
    api.h.ask(mutation(name), { token: api.h.bootstrapToken, variables: { input: complete(name, input) } })
  const inSeconds = (seconds: number) => new Date(api.h.clock.now().getTime() + seconds * 1000).toISOString()

  it.each([
    ['empty', ''],
    ['a single letter', 'a'],
    ['digits that end in -letter', '1-a'],
    ['digits only', '1234567'],
    ['upper case', 'Wren'],
    ['with a leading hyphen', '-wren'],
    ['with a trailing hyphen', 'wren-'],
    ['with two hyphens in a row', 'wr--en'],
    ['with a dot', 'wren.o'],
    ['with a line feed at the end', 'wren\n'],
    ["the bootstrap actor's", '<bootstrap>'],
    ['of 65 characters', 'a'.repeat(65)],
  ])('a username that is %s is refused with INVALID_USERNAME, in every creation', async (_what, username) => {
    for (const name of [SESSION, SERVICE, USER]) {
      expect(await create(name, { username })).toMatchObject({
        code: 'INVALID_USERNAME',
        status: 200,
        data: null,
      })
    }
  })

  it.each(['wren', 'bot', 'botuser', 'bot-', 'robot-x'])(
    '%s is not a username for a service token',
    async (username) => {
      expect(await create(SERVICE, { username })).toMatchObject({ code: 'INVALID_USERNAME', status: 200 })
    },
  )

  it.each(['ab', '1a', 'bot-1', '12-ab', 'a'.repeat(64)])('%s is a username', async (username) => {
    expect((await create(SESSION, { username })).errors).toEqual([])
  })

  it.each([
    ['empty', ''],
    ['of 65 characters', 'x'.repeat(65)],
    ['with a NUL', 'a\0b'],
  ])('a token name that is %s is refused with INVALID_TOKEN_NAME', async (_what, tokenName) => {
    expect(await create(USER, { tokenName })).toMatchObject({
      code: 'INVALID_TOKEN_NAME',
      status: 200,
      data: null,
    })
  })

  it.each([
    ['a blank', ' '],
    ['64 characters beyond the basic plane', '🚪'.repeat(64)],
    ['quotes and markup', `'"<b>;--`],
  ])('a token name may be %s', async (_what, tokenName) => {
    expect(createdBy(await create(USER, { tokenName })).info.tokenName).toBe(tokenName)
  })

  it('a second token of the same name is refused with DUPLICATE_TOKEN_NAME, for the same user only', async () => {
    const tokenName = aName()
    expect((await create(USER, { tokenName })).errors).toEqual([])
    expect(await create(USER, { tokenName })).toMatchObject({
      code: 'DUPLICATE_TOKEN_NAME',
      status: 200,
      data: null,
    })
    expect((await create(USER, { tokenName, username: 'rook' })).errors).toEqual([])
  })

  it('of many creations of the same name at once, one succeeds', async () => {
    const tokenName = aName()
    const answers = await Promise.all(Array.from({ length: 5 }, () => create(USER, { tokenName })))
    const codes = answers.map(({ code }) => code).sort()
    expect(codes).toEqual([...Array.from({ length: 4 }, () => 'DUPLICATE_TOKEN_NAME'), undefined])
    const [{ entries } = { entries: 0 }] = await api.h.sql<{ entries: number }>(
      'SELECT count(*)::int AS entries FROM porthor_token_store WHERE token NOT IN (SELECT token FROM token)',
    )
    expect(entries).toBe(0)
  })

  it.each([299, 0, -3_600])('an expiry %i s ahead is refused with INVALID_EXPIRES', async (seconds) => {
    for (const name of [SERVICE, USER]) {
      const answer = await create(name, { expiresAt: inSeconds(seconds) })
      expect(answer).toMatchObject({ code: 'INVALID_EXPIRES', status: 200, data: null })
      expect(answer.errors[0]?.message).toContain(inSeconds(300))
    }
  })

  it('an expiry is kept in whole seconds, whatever its offset', async () => {
    const expiresAt = '2199-01-01T02:00:00.999+02:00'
    expect(createdBy(await create(USER, { expiresAt })).info.expiresAt).toBe('2199-01-01T00:00:00.000Z')
  })

  it.each(['tomorrow', '2199-01-01', '2199-02-30T00:00:00Z', '2199-01-01T00:00:00', ''])(
    'an expiry of %j is not a time',
    async (expiresAt) => {
      const answer = await create(USER, { expiresAt })
      expect(answer).toMatchObject({ code: 'BAD_USER_INPUT', status: 400 })
      expect(answer.errors[0]?.message).toContain('DateTime must be a time in ISO 8601')
    },
  )

  it.each([SESSION, SERVICE, USER])('an unknown scope is refused with INVALID_SCOPES: %s', async (name) => {
    const answer = await create(name, { scopes: ['read:all', 'read:none'] })
    expect(answer).toMatchObject({ code: 'INVALID_SCOPES', status: 200, data: null })
    expect(answer.errors[0]?.message).toContain('"read:none"')
  })
})

describe('with TOKEN_LIFETIME set', () => {
  const api = usePorthor('postgres', { TOKEN_LIFETIME: '1h30m' })

  it('a session has that lifetime, and other tokens the requested one', async () => {
    const create = async (name: string, input: object) =>
      createdBy(await api.h.ask(mutation(name), { token: api.h.bootstrapToken, variables: { input } })).info
        .expiresAt
    const now = api.h.clock.now().getTime()
    expect(await create(SESSION, { username: 'wren' })).toBe(new Date(now + 5_400_000).toISOString())
    const later = new Date(now + 9_000_000).toISOString()
    expect(await create(SERVICE, { username: 'bot-ci', expiresAt: later })).toBe(later)
    expect(await create(USER, { username: 'wren', tokenName: 'x', expiresAt: later })).toBe(later)
  })
})
