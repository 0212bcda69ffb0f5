import { describe, expect, it } from 'vitest'
import { formatToken, generateToken, parseToken } from '../../src/domain/token.ts'
import { type GatewayFacts, makeGateway, onBehalfOf } from '../support/porthor/gateway.ts'
import type { Porthor } from '../support/porthor/porthor.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { type AskOptions, fieldOf, type GraphQLAnswer } from '../support/requests/graphql.ts'
import { sendRaw, statusesIn } from '../support/requests/raw-http.ts'

interface Made {
  readonly token: string
  readonly key: string
  readonly username: string
  readonly scopes: readonly string[]
  readonly source: string
}

const FIELDS = 'token key username scopes source'
const TAP = `mutation { made: internalToken(service: "tap", scopes: ["read:all"]) { ${FIELDS} } }`
const PORTAL = `mutation { made: internalToken(service: "portal") { ${FIELDS} } }`
const NOTEBOOK = `mutation { made: notebookToken { ${FIELDS} } }`
const REVOKE = 'mutation ($key: ID!) { revokeToken(key: $key) { keys } }'

const DENIED = { status: 403, code: 'PERMISSION_DENIED', data: null }
const REFUSED_SUBJECT = {
  status: 401,
  code: 'UNAUTHENTICATED',
  errors: [{ extensions: { header: 'X-Porthor-Subject-Token' } }],
}

const made = async (answer: Promise<GraphQLAnswer>): Promise<Made> => fieldOf<Made>(await answer, 'made')

/** The number of delegated tokens that have been issued so far. */
const issuedIn = ({ logLines }: Porthor): number =>
  logLines.filter(({ msg, parentKey }) => msg === 'created token' && parentKey !== undefined).length

/** What a gateway is told when it delegates for the holder of `subject`. */
const delegate = async (
  h: Porthor,
  subject: string,
  { query = TAP, ...facts }: GatewayFacts & { query?: string } = {},
): Promise<GraphQLAnswer> => h.ask(query, onBehalfOf(await makeGateway(h, facts), subject))

describe('rule 15: with DELEGATION=self', () => {
  const api = usePorthor('redis')

  it('a request that names a subject is refused, whatever its operation, and nothing is issued', async () => {
    const [subject, gateway] = [await api.h.session('wren'), await makeGateway(api.h)]
    for (const query of [TAP, NOTEBOOK, '{ scopes { name } }']) {
      expect(await api.h.ask(query, onBehalfOf(gateway, subject))).toMatchObject({
        status: 403,
        code: DENIED.code,
      })
    }
    expect(issuedIn(api.h)).toBe(0)
  })

  it('the holder of a token delegates from it, and a gateway from its own', async () => {
    const token = formatToken((await makeGateway(api.h)).token)
    expect(await made(api.h.ask(PORTAL, { token }))).toMatchObject({ username: 'bot-edge', scopes: [] })
    expect(await made(api.h.ask(TAP, { token: await api.h.session('wren') }))).toMatchObject({
      username: 'wren',
    })
  })
})

describe('rule 15: with DELEGATION=gateway', () => {
  const api = usePorthor('redis', { DELEGATION: 'gateway', AUTH_FAILURES_PER_MINUTE: '1' })

  it('no token is delegated by its holder, also not that of a gateway', async () => {
    const before = issuedIn(api.h)
    for (const token of [await api.h.session('wren'), formatToken((await makeGateway(api.h)).token)]) {
      for (const query of [TAP, NOTEBOOK]) expect(await api.h.ask(query, { token })).toMatchObject(DENIED)
    }
    expect(issuedIn(api.h)).toBe(before)
  })

  it.each([
    ['an internal token', TAP, ['read:all']],
    ['a notebook token', NOTEBOOK, ['exec:notebook', 'read:all', 'user:token']],
  ])(
    'a gateway obtains %s of the user, with scopes of the user, and obtains it again',
    async (_what, query, scopes) => {
      const subject = await api.h.session('wren')
      const gateway = await makeGateway(api.h)
      const first = await made(api.h.ask(query, onBehalfOf(gateway, subject)))
      expect(first).toMatchObject({ username: 'wren', scopes, source: 'NEW' })
      const second = await made(api.h.ask(query, onBehalfOf(gateway, subject)))
      expect(second).toEqual({ ...first, source: 'CACHE' })
      const other = await makeGateway(api.h, { username: 'bot-other' })
      expect(await made(api.h.ask(query, onBehalfOf(other, subject)))).toEqual({ ...first, source: 'CACHE' })
    },
  )

  it('the actor in history and log is the gateway, and the token is a child of that of the user', async () => {
    const subject = await api.h.session('wren')
    const { key } = await made(delegate(api.h, subject))
    const events = await api.h.sql(
      'SELECT actor, username, parent FROM token_change_history WHERE token = $1',
      [key],
    )
    const parent = parseToken(subject).key
    expect(events).toEqual([{ actor: 'bot-edge', username: 'wren', parent }])
    expect(api.h.logLines.find(({ tokenKey }) => tokenKey === key)).toMatchObject({
      msg: 'created token',
      actor: 'bot-edge',
      username: 'wren',
    })
    expect(api.h.logLines.at(-1)).toMatchObject({
      msg: 'operation',
      username: 'bot-edge',
      subjectUsername: 'wren',
      subjectKey: parent,
    })
  })

  it('what a gateway has obtained is revoked with the token of the user', async () => {
    const subject = await api.h.session('wren')
    const { token } = await made(delegate(api.h, subject))
    await api.h.ask(REVOKE, { token: subject, variables: { key: parseToken(subject).key } })
    expect(await api.h.ask('{ scopes { name } }', { token })).toMatchObject({ code: 'UNAUTHENTICATED' })
  })

  it('the scopes of a child are those of the user, never those of the gateway', async () => {
    const subject = await api.h.session('wren', ['read:tap'])
    const refused = await delegate(api.h, subject, { scopes: ['delegate:token', 'read:all'] })
    expect(refused).toMatchObject({
      code: 'INVALID_SCOPES',
      errors: [{ extensions: { heldScopes: ['read:tap'] } }],
    })
    expect(refused.errors[0]?.message).toContain('subject token')
  })

  it('whoever is not a gateway is refused before the subject and any cache is looked at', async () => {
    const subject = await api.h.session('wren')
    await made(delegate(api.h, subject))
    const [session, service] = [
      await api.h.session('wren', ['delegate:token', 'read:all']),
      formatToken((await makeGateway(api.h, { scopes: ['read:all'] })).token),
    ]
    const unknown = formatToken(generateToken())
    for (const token of [session, service, api.h.bootstrapToken]) {
      for (const each of [subject, unknown, 'x']) {
        const headers = { 'X-Porthor-Subject-Token': `Bearer ${each}` }
        expect(await api.h.ask(TAP, { token, headers })).toMatchObject(DENIED)
      }
    }
    for (const token of [undefined, 'x', unknown]) {
      const options: AskOptions = {
        ...(token !== undefined && { token }),
        headers: { 'X-Porthor-Subject-Token': `Bearer ${subject}` },
      }
      const answer = await api.h.ask(TAP, options)
      expect(['UNAUTHENTICATED', 'RATE_LIMITED']).toContain(answer.code)
      expect(answer.errors[0]?.extensions).not.toHaveProperty('header')
    }
  })

  it.each([
    ['of another scheme', 'Basic gt-x'],
    ['without a scheme', 'gt-q1w2e3r4t5y6u7i8o9p0aQ.Zx-9_Yw8Vu7Ts6Rq5Po4Ng'],
    ['that is empty', ''],
    ['that is no bearer string', 'Bearer wren'],
  ])('a subject %s is UNAUTHENTICATED, and the error names the header', async (_what, value) => {
    const token = formatToken((await makeGateway(api.h)).token)
    const answer = await api.h.ask(TAP, { token, headers: { 'X-Porthor-Subject-Token': value } })
    expect(answer).toMatchObject(REFUSED_SUBJECT)
    expect(answer.errors[0]?.message).toContain('X-Porthor-Subject-Token: Bearer <token>')
  })

  it('a subject that is unknown, revoked or has another secret is UNAUTHENTICATED, and not counted for the gateway', async () => {
    const revoked = await api.h.session('wren')
    await api.h.ask(REVOKE, { token: revoked, variables: { key: parseToken(revoked).key } })
    const live = parseToken(await api.h.session('wren'))
    const wrong = formatToken({ ...live, secret: generateToken().secret })
    for (const subject of [revoked, wrong, formatToken(generateToken()), revoked, wrong]) {
      expect(await delegate(api.h, subject)).toMatchObject(REFUSED_SUBJECT)
    }
    expect(
      api.h.logLines.filter(({ msg, role }) => msg === 'refused token' && role === 'subject'),
    ).not.toEqual([])
  })

  it('the bootstrap token is no subject', async () => {
    expect(await delegate(api.h, api.h.bootstrapToken)).toMatchObject(DENIED)
  })

  it('a subject that ends too soon is INSUFFICIENT_LIFETIME', async () => {
    const subject = await api.h.session('wren')
    api.h.clock.advance(30 * 86_400 - 299)
    expect(await delegate(api.h, subject)).toMatchObject({ status: 401, code: 'INSUFFICIENT_LIFETIME' })
  })

  it('two subjects in one request are refused as BAD_REQUEST, also where they are equal', async () => {
    const subject = await api.h.session('wren')
    const gateway = formatToken((await makeGateway(api.h)).token)
    const body = JSON.stringify({ query: TAP })
    const before = issuedIn(api.h)
    for (const second of [subject, await api.h.session('finch')]) {
      const lines = [
        'POST /graphql HTTP/1.1',
        'Host: porthor',
        `Authorization: Bearer ${gateway}`,
        `X-Porthor-Subject-Token: Bearer ${subject}`,
        `x-porthor-subject-token: Bearer ${second}`,
        'Content-Type: application/json',
        `Content-Length: ${body.length}`,
        'Connection: close',
      ]
      const text = await sendRaw(api.h.url, `${lines.join('\r\n')}\r\n\r\n${body}`)
      expect(statusesIn(text)).toEqual([400])
      expect(text).toContain('X-Porthor-Subject-Token')
    }
    expect(issuedIn(api.h)).toBe(before)
  })

  it('a request that takes the way of Yoga names its subject too', async () => {
    const [subject, gateway] = [await api.h.session('wren'), await makeGateway(api.h)]
    const { token, headers } = onBehalfOf(gateway, subject)
    const options = { headers: { ...headers, Accept: 'application/json;q=0.5' }, ...(token && { token }) }
    expect(await made(api.h.ask(TAP, options))).toMatchObject({ username: 'wren', source: 'NEW' })
  })
})

describe('rule 15: a delegated token', () => {
  const api = usePorthor('redis', { DELEGATION: 'gateway' })

  it('is no subject, and with DELEGATION_CHAINS is one', async () => {
    const subject = await api.h.session('wren')
    const delegated = [
      (await made(delegate(api.h, subject))).token,
      (await made(delegate(api.h, subject, { query: NOTEBOOK }))).token,
    ]
    for (const token of delegated)
      expect(await delegate(api.h, token, { query: PORTAL })).toMatchObject(DENIED)
    await api.h.restart({ DELEGATION_CHAINS: 'true' })
    for (const token of delegated) {
      expect(await made(delegate(api.h, token, { query: PORTAL }))).toMatchObject({ source: 'NEW' })
    }
    await api.h.restart()
  })
})

describe('rule 15: what a delegated token has created, with DELEGATED_TOKENS_MAY_CREATE,', () => {
  const env = { DELEGATION: 'gateway', DELEGATED_TOKENS_MAY_CREATE: 'true', UNDELEGABLE_SCOPES: 'none' }
  const api = usePorthor('redis', env)
  const asAdmin = async () => {
    const subject = await api.h.session('ada', ['admin:token', 'user:token'])
    return (await made(delegate(api.h, subject, { query: NOTEBOOK }))).token
  }

  it('is no subject', async () => {
    const create = 'mutation { made: createUserToken(input: { tokenName: "n" }) { token } }'
    const { token } = await made(api.h.ask(create, { token: await asAdmin() }))
    expect(await delegate(api.h, token, { query: PORTAL })).toMatchObject(DENIED)
  })

  it('is no gateway: it holds no scope that is never delegated', async () => {
    const create = `mutation { made: createServiceToken(input: { username: "bot-x", scopes: ["delegate:token"] }) { token } }`
    expect(await api.h.ask(create, { token: await asAdmin() })).toMatchObject({ code: 'INVALID_SCOPES' })
    const bot = 'mutation { made: createServiceToken(input: { username: "bot-x" }) { token } }'
    expect(await made(api.h.ask(bot, { token: await asAdmin() }))).toHaveProperty('token')
  })
})

describe('rule 15: DELEGATION_GATEWAYS', () => {
  const gateways = { 'bot-edge': ['tap'], 'bot-hub': ['notebook'], 'bot-idle': [] }
  const api = usePorthor('redis', { DELEGATION: 'gateway', DELEGATION_GATEWAYS: JSON.stringify(gateways) })

  it('limits each gateway to its services, also where another one has obtained the token', async () => {
    const subject = await api.h.session('wren')
    const may = { 'bot-edge': TAP, 'bot-hub': NOTEBOOK }
    for (const [username, query] of Object.entries(may))
      await made(delegate(api.h, subject, { username, query }))
    for (const username of ['bot-edge', 'bot-hub', 'bot-idle', 'bot-other']) {
      for (const query of [TAP, PORTAL, NOTEBOOK]) {
        const answer = await delegate(api.h, subject, { username, query })
        const isPermitted = Object.entries(may).some(([name, own]) => name === username && own === query)
        expect(answer).toMatchObject(isPermitted ? { status: 200, errors: [] } : DENIED)
      }
    }
  })
})

describe.each(['self', 'gateway'])('rule 16, with DELEGATION=%s: DELEGATION_SERVICES', (DELEGATION) => {
  const services = { tap: ['read:all'], status: [] }
  const api = usePorthor('redis', { DELEGATION, DELEGATION_SERVICES: JSON.stringify(services) })
  const ask = async (query: string) => {
    const session = await api.h.session('wren')
    return DELEGATION === 'self' ? api.h.ask(query, { token: session }) : delegate(api.h, session, { query })
  }

  it('refuses a service that is not listed as PERMISSION_DENIED, and names it', async () => {
    const refused = await ask(PORTAL)
    expect(refused).toMatchObject(DENIED)
    expect(refused.errors[0]).toMatchObject({
      message: expect.stringContaining('"portal"'),
      extensions: { service: 'portal' },
    })
  })

  it('refuses a scope beyond the list as INVALID_SCOPES, and grants those in it', async () => {
    const refused = await ask(
      'mutation { internalToken(service: "tap", scopes: ["exec:notebook", "read:all"]) { key } }',
    )
    expect(refused).toMatchObject({
      status: 200,
      code: 'INVALID_SCOPES',
      errors: [{ extensions: { excessScopes: ['exec:notebook'], permittedScopes: ['read:all'] } }],
    })
    expect(await made(ask(TAP))).toMatchObject({ scopes: ['read:all'] })
  })

  it('does not limit notebook tokens', async () => {
    expect(await made(ask(NOTEBOOK))).toMatchObject({ scopes: ['exec:notebook', 'read:all', 'user:token'] })
  })
})
