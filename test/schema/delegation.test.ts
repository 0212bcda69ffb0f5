import { describe, expect, it } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { fieldOf, type GraphQLAnswer } from '../support/requests/graphql.ts'

const FIELDS = 'token key type username service scopes createdAt expiresAt source'

const INTERNAL = `mutation ($service: String!, $scopes: [String!]! = [], $minimumLifetime: Int) {
  internalToken(service: $service, scopes: $scopes, minimumLifetime: $minimumLifetime) { ${FIELDS} }
}`
const NOTEBOOK = `mutation ($minimumLifetime: Int) {
  notebookToken(minimumLifetime: $minimumLifetime) { ${FIELDS} }
}`

interface Delegated {
  readonly token: string
  readonly key: string
  readonly scopes: string[]
  readonly source: string
}

const internalOf = (answer: GraphQLAnswer) => fieldOf<Delegated>(answer, 'internalToken')
const notebookOf = (answer: GraphQLAnswer) => fieldOf<Delegated>(answer, 'notebookToken')

const DAY = 86_400
const LIFETIME = 30 * DAY

describe.each(['redis', 'postgres'] as const)('over %s', (store) => {
  const api = usePorthor(store)
  const ask = (token: string, query: string, variables = {}) => api.h.ask(query, { token, variables })
  const inSeconds = (seconds: number) => new Date(api.h.clock.now().getTime() + seconds * 1000).toISOString()

  it('internalToken returns every field, with the scopes sorted and without duplicates', async () => {
    const session = await api.h.session()
    const answer = await ask(session, INTERNAL, {
      service: 'image-cutouts',
      scopes: ['user:token', 'read:all', 'user:token'],
    })
    const { token, key } = internalOf(answer)
    expect(answer.status).toBe(200)
    expect(answer.data).toEqual({
      internalToken: {
        token,
        key: parseToken(token).key,
        type: 'INTERNAL',
        username: 'wren',
        service: 'image-cutouts',
        scopes: ['read:all', 'user:token'],
        createdAt: inSeconds(0),
        expiresAt: inSeconds(LIFETIME),
        source: 'NEW',
      },
    })
    expect(key).not.toBe(parseToken(session).key)
  })

  it('notebookToken returns every field, with all scopes of the current token', async () => {
    const answer = await ask(await api.h.session(), NOTEBOOK)
    const { token } = notebookOf(answer)
    expect(answer.status).toBe(200)
    expect(answer.data).toEqual({
      notebookToken: {
        token,
        key: parseToken(token).key,
        type: 'NOTEBOOK',
        username: 'wren',
        service: null,
        scopes: ['exec:notebook', 'read:all', 'user:token'],
        createdAt: inSeconds(0),
        expiresAt: inSeconds(LIFETIME),
        source: 'NEW',
      },
    })
  })

  it.each([
    ['internalToken', INTERNAL, internalOf],
    ['notebookToken', NOTEBOOK, notebookOf],
  ])(
    '%s returns the same token from the cache, and after a restart from the database',
    async (_, query, read) => {
      const session = await api.h.session()
      const variables = query === INTERNAL ? { service: 'tap', scopes: ['read:all'] } : {}
      const first = read(await ask(session, query, variables))
      expect(read(await ask(session, query, variables))).toEqual({ ...first, source: 'CACHE' })
      await api.h.restart()
      expect(read(await ask(session, query, variables))).toEqual({ ...first, source: 'DATABASE' })
    },
  )

  it('a delegated token authenticates requests, and can be delegated from', async () => {
    const notebook = notebookOf(await ask(await api.h.session(), NOTEBOOK))
    const child = internalOf(await ask(notebook.token, INTERNAL, { service: 'tap', scopes: ['read:all'] }))
    const [lineage] = await api.h.sql('SELECT parent FROM subtoken WHERE child = $1', [child.key])
    expect(lineage).toEqual({ parent: notebook.key })
  })

  it('a delegated token never expires later than its parent, nor later than the delegated lifetime', async () => {
    const short = await api.plant({ endsIn: 1_000 })
    expect(internalOf(await ask(short, INTERNAL, { service: 'tap' }))).toMatchObject({
      expiresAt: inSeconds(1_000),
    })
    const endless = await api.plant({ endsIn: null })
    expect(notebookOf(await ask(endless, NOTEBOOK))).toMatchObject({ expiresAt: inSeconds(LIFETIME) })
  })
})

describe('delegation', () => {
  const api = usePorthor('postgres')
  const ask = (token: string, query: string, variables = {}) => api.h.ask(query, { token, variables })

  it('requires no scope, and grants none that is not requested', async () => {
    const session = await api.h.session('wren', [])
    expect(internalOf(await ask(session, INTERNAL, { service: 'tap' })).scopes).toEqual([])
    expect(notebookOf(await ask(session, NOTEBOOK)).scopes).toEqual([])
  })

  it.each([
    ['the shortest', 'a'],
    ['the longest', 'x'.repeat(64)],
    ['every kind of character', 'aZ09._-'],
  ])('accepts a service whose name is %s', async (_what, service) => {
    const { data } = await ask(await api.h.session(), INTERNAL, { service })
    expect(data).toMatchObject({ internalToken: { service } })
  })

  it.each([300, LIFETIME - 300])('accepts a minimumLifetime of %i s', async (minimumLifetime) => {
    const session = await api.h.session()
    expect((await ask(session, INTERNAL, { service: 'tap', minimumLifetime })).errors).toEqual([])
    expect((await ask(session, NOTEBOOK, { minimumLifetime })).errors).toEqual([])
  })

  it.each([
    ['empty', ''],
    ['of 65 characters', 'x'.repeat(65)],
    ['with a blank', 'image cutouts'],
    ['with a line feed at the end', 'tap\n'],
    ['with a slash', 'a/b'],
    ['with a letter beyond ASCII', 'café'],
  ])('refuses a service %s with INVALID_SERVICE', async (_what, service) => {
    const answer = await ask(await api.h.session(), INTERNAL, { service })
    expect(answer).toMatchObject({ code: 'INVALID_SERVICE', status: 200, data: null })
    expect(answer.errors[0]?.message).toBe(
      'service must be 1 to 64 characters of A-Z a-z 0-9 . _ - and must not contain a token.',
    )
  })

  it.each([299, -1, 0, LIFETIME - 299, 2_147_483_647])(
    'refuses a minimumLifetime of %i s with INVALID_MINIMUM_LIFETIME',
    async (minimumLifetime) => {
      const session = await api.h.session()
      for (const [query, variables] of [
        [INTERNAL, { service: 'tap', minimumLifetime }],
        [NOTEBOOK, { minimumLifetime }],
      ] as const) {
        const answer = await ask(session, query, variables)
        expect(answer).toMatchObject({ code: 'INVALID_MINIMUM_LIFETIME', status: 200, data: null })
        expect(answer.errors[0]?.message).toContain(`300 to ${LIFETIME - 300}`)
      }
    },
  )

  it.each([
    ['unknown', ['read:all', 'read:none'], '"read:none"'],
    ['known, but not held', ['read:tap'], '"read:tap"'],
    ['empty', [''], '""'],
  ])('refuses a scope that is %s with INVALID_SCOPES, naming it', async (_what, scopes, named) => {
    const answer = await ask(await api.h.session(), INTERNAL, { service: 'tap', scopes })
    expect(answer).toMatchObject({ code: 'INVALID_SCOPES', status: 200, data: null })
    expect(answer.errors[0]?.message).toContain(named)
  })

  it('delegates no scope that the current token does not have, also for an admin', async () => {
    const admin = await api.h.session('ada', ['admin:token'])
    const answer = await ask(admin, INTERNAL, { service: 'tap', scopes: ['read:all'] })
    expect(answer).toMatchObject({ code: 'INVALID_SCOPES', status: 200 })
  })

  it.each([
    ['none is asked for and 299 s are left', undefined, 299],
    ['400 s are asked for and 399 s are left', 400, 399],
  ])('refuses with INSUFFICIENT_LIFETIME and 401 when %s', async (_what, minimumLifetime, endsIn) => {
    const parent = await api.plant({ endsIn })
    for (const [query, variables] of [
      [INTERNAL, { service: 'tap', minimumLifetime }],
      [NOTEBOOK, { minimumLifetime }],
    ] as const) {
      const answer = await ask(parent, query, variables)
      expect(answer).toMatchObject({ code: 'INSUFFICIENT_LIFETIME', status: 401, data: null })
      expect(answer.headers.get('www-authenticate')).toContain('error="invalid_token"')
    }
  })

  it.each([
    [undefined, 300],
    [400, 400],
  ])(
    'accepts a parent whose remaining lifetime is just enough: minimumLifetime %s s, %i s left',
    async (minimum, endsIn) => {
      const parent = await api.plant({ endsIn })
      const answer = await ask(parent, INTERNAL, { service: 'tap', minimumLifetime: minimum })
      expect(answer.errors).toEqual([])
    },
  )

  it('is refused for the bootstrap token', async () => {
    for (const [query, variables] of [
      [INTERNAL, { service: 'tap' }],
      [NOTEBOOK, {}],
    ] as const) {
      expect(await ask(api.h.bootstrapToken, query, variables)).toMatchObject({
        code: 'PERMISSION_DENIED',
        status: 403,
        data: null,
      })
    }
  })

  it('refuses a parent that is only in the token store, and leaves nothing behind', async () => {
    api.expectErrors()
    const parent = await api.plant({ isInDatabase: false })
    const rows = () =>
      api.h.sql(`SELECT (SELECT count(*) FROM token) AS tokens, (SELECT count(*) FROM porthor_token_store) AS entries,
                        (SELECT count(*) FROM token_change_history) AS changes`)
    const before = await rows()
    const answer = await ask(parent, INTERNAL, { service: 'tap' })
    expect(answer).toMatchObject({ code: 'UNAUTHENTICATED', status: 401, data: null })
    expect(answer.errors[0]?.message).not.toMatch(/desync|database/i)
    expect(await rows()).toEqual(before)
    expect(api.h.logLines).toContainEqual(
      expect.objectContaining({ level: 50, msg: expect.stringContaining('desynchronised') }),
    )
  })
})

describe('with DELEGATED_TOKEN_LIFETIME set', () => {
  const api = usePorthor('postgres', { TOKEN_LIFETIME: '10d', DELEGATED_TOKEN_LIFETIME: '1h' })

  it('delegated tokens have that lifetime, and no longer minimumLifetime is accepted', async () => {
    const token = await api.h.session()
    const ask = (minimumLifetime: number) =>
      api.h
        .ask(NOTEBOOK, { token, variables: { minimumLifetime } })
        .then(({ data, code }) => ({ data, code }))
    const expiresAt = new Date(api.h.clock.now().getTime() + 3_600_000).toISOString()
    expect((await ask(3_300)).data).toMatchObject({ notebookToken: { expiresAt } })
    expect((await ask(3_301)).code).toBe('INVALID_MINIMUM_LIFETIME')
  })
})
