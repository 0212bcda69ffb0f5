import { beforeAll, describe, expect, it } from 'vitest'
import { formatToken, generateToken, NO_USER_INFO, parseToken } from '../../../../src/domain/token.ts'
import { LIFE, SHORT_LIVED } from '../../../support/porthor/parent-token.ts'
import { usePorthor } from '../../../support/porthor/use-porthor.ts'
import { askIngress, basic, FROM_PROXY, stateCookie } from '../../../support/requests/ingress.ts'

const REALM = 'Bearer realm="data.example.org"'
const t = usePorthor('redis', {
  ...SHORT_LIVED,
  AUTH_PORT: '0',
  INGRESS_AUTH: 'true',
  PUBLIC_URL: 'https://data.example.org:8443/portal',
  TRUSTED_PROXIES: '127.0.0.1',
})

let session: string
beforeAll(async () => {
  session = await t.h.session('wren', ['user:token', 'read:all', 'read:tap', 'exec:notebook'])
})

type Headers = Parameters<typeof askIngress>[2]
const ask = (query?: string, headers?: Headers, options?: Parameters<typeof askIngress>[3]) =>
  askIngress(t.h.authUrl, query, headers, options)
const bearer = (token: string) => ({ Authorization: `Bearer ${token}` })
/** Asks with the session. */
const askAs = (query: string, headers: Headers = {}) => ask(query, { ...bearer(session), ...headers })
const problems = (detail: unknown) =>
  (detail as { loc: string[]; type: string }[]).map(({ loc, type }) => [...loc, type].join(' '))

describe('the request', () => {
  it.each(['HEAD', 'OPTIONS', 'POST', 'PUT', 'DELETE', 'PATCH', 'QUERY'])('by %s is 405', async (method) => {
    for (const path of ['/ingress/auth', '/ingress/anonymous']) {
      const answer = await ask('', bearer(session), { method, path })
      expect([answer.status, answer.value('Allow')]).toEqual([405, 'GET'])
    }
  })

  it('without X-Original-Method is 422, with valid credentials or without', async () => {
    for (const headers of [bearer(session), {}]) {
      const answer = await ask('', { ...headers, 'X-Original-Method': undefined })
      expect(answer.status).toBe(422)
      expect(answer.detail).toEqual([
        { loc: ['header', 'x-original-method'], msg: 'Field required', type: 'missing' },
      ])
      expect(answer.value('Cache-Control')).toBe('no-cache, no-store')
    }
  })

  it('without X-Original-URL is 422 once authentication has passed, else 401', async () => {
    const answer = await askAs('', { 'X-Original-URL': undefined, 'X-Original-URI': '/tap' })
    expect([answer.status, problems(answer.detail)]).toEqual([422, ['header x-original-url missing']])
    expect((await ask('', { 'X-Original-URL': undefined })).status).toBe(401)
  })

  it('for an original OPTIONS is refused without authentication, to be shown as 404', async () => {
    for (const headers of [bearer(session), {}]) {
      const answer = await ask('', { ...headers, 'X-Original-Method': 'OPTIONS' })
      expect(answer.status).toBe(403)
      expect(answer.value('X-Error-Status')).toBe('404')
      expect(JSON.parse(answer.value('X-Error-Body') ?? '')).toEqual(JSON.parse(answer.body))
      expect(answer.value('WWW-Authenticate')).toBe(undefined)
    }
    expect((await askAs('', { 'X-Original-Method': 'options' })).status).toBe(200)
    expect((await askAs('', { 'X-Original-Method': ['GET', 'OPTIONS'] })).status).toBe(200)
  })

  it('is decided by query and credentials: no X-Original, X-Forwarded or X-Auth-Request field changes the response', async () => {
    const plain = await askAs('scope=read:all&delegate_to=portal')
    for (const headers of [
      { 'X-Original-URL': '/ingress/auth?scope=admin:token', 'X-Original-URI': '/../admin' },
      { 'X-Original-Method': 'DELETE', 'X-Original-URL': '' },
      { 'X-Forwarded-Uri': '/ingress/anonymous', 'X-Forwarded-Method': 'POST', 'X-Forwarded-Host': 'evil' },
      { 'X-Auth-Request-User': 'root', X_Auth_Request_User: 'root', 'X.Auth.Request.User': 'root' },
      {
        'X-Auth-Request-Token': formatToken(generateToken()),
        Forwarded: 'for=1.2.3.4',
        Host: 'evil.example',
      },
    ]) {
      const answer = await askAs('scope=read:all&delegate_to=portal', headers)
      expect([
        answer.status,
        answer.value('X-Auth-Request-User'),
        answer.value('X-Auth-Request-Token'),
      ]).toEqual([200, 'wren', plain.value('X-Auth-Request-Token')])
      expect((await askAs('scope=admin:token', headers)).status).toBe(403)
    }
  })

  it('has a path that is exact, and nothing below it', async () => {
    for (const path of [
      '/ingress/auth/',
      '/ingress/auth/x',
      '/ingress//auth',
      '/ingress/%61uth',
      '/Ingress/auth',
      '/ingress',
    ]) {
      expect((await ask('', bearer(session), { path })).status).toBe(404)
    }
  })

  it('may have 64 KiB of header fields', async () => {
    const answer = await askAs('scope=read:all', { Cookie: `x=${'y'.repeat(60_000)}` })
    expect(answer.status).toBe(200)
    expect(answer.value('Cookie')).toBe(`x=${'y'.repeat(60_000)}`)
  })
})

describe('the query is refused', () => {
  it.each([
    ['notebook with delegate_to', 'notebook=true&delegate_to=tap', 'query delegate_to invalid_delegate_to'],
    ['service other than delegate_to', 'service=portal&delegate_to=tap', 'query service invalid_service'],
    ['a bad auth_type', 'auth_type=digest', 'query auth_type enum'],
    ['a bad allow_cookies', 'allow_cookies=perhaps', 'query allow_cookies bool_parsing'],
    ['user_domain', 'user_domain=true', 'query user_domain not_supported'],
    ['allow_options=true', 'allow_options=true', 'query allow_options not_supported'],
  ])('with 422 before authentication: %s', async (_what, query, problem) => {
    for (const headers of [bearer(session), {}]) {
      const answer = await ask(query, headers)
      expect([answer.status, problems(answer.detail)]).toEqual([422, [problem]])
    }
  })

  it.each([
    ['notebook=perhaps', 'query notebook bool_parsing'],
    ['satisfy=some', 'query satisfy enum'],
    ['use_authorization=', 'query use_authorization bool_parsing'],
    ['minimum_lifetime=ten', 'query minimum_lifetime value_error'],
    ['minimum_lifetime=299', 'query minimum_lifetime greater_than_equal'],
    ['minimum_lifetime=inf', 'query minimum_lifetime time_delta_parsing'],
    ['delegate_to=a%20b', 'query delegate_to invalid_service'],
    [`delegate_to=${'x'.repeat(65)}`, 'query delegate_to invalid_service'],
  ])('with 422 once authentication has passed, and 401 before: %s', async (query, problem) => {
    const answer = await askAs(query)
    expect([answer.status, problems(answer.detail)]).toEqual([422, [problem]])
    expect((await ask(query)).status).toBe(401)
    expect((await ask(query, bearer(formatToken(generateToken())))).status).toBe(401)
  })

  it('with a message that says what is not supported', async () => {
    const answer = await ask('user_domain=true')
    expect(answer.body).toContain('user_domain is not supported')
  })
})

describe('authentication', () => {
  const passes = async (headers: Headers, query = '') =>
    (await ask(query, headers)).value('X-Auth-Request-User')

  it('takes the token from a cookie, from Bearer in any case, and from either half of Basic', async () => {
    expect(await passes({ Cookie: stateCookie(t.h, session) })).toBe('wren')
    expect(await passes({ Cookie: `a=1; ${stateCookie(t.h, session).replace('=', '="')}"` })).toBe('wren')
    expect(await passes({ Authorization: `bEARER   ${session}` })).toBe('wren')
    expect(await passes({ Authorization: basic(session, 'x-oauth-basic') })).toBe('wren')
    expect(await passes({ Authorization: basic('x-oauth-basic', session) })).toBe('wren')
  })

  it('takes the cookie before the Authorization field, where cookies are allowed', async () => {
    const ada = await t.h.session('ada', ['read:all'])
    const both = { Cookie: stateCookie(t.h, ada), ...bearer(session) }
    expect(await passes(both)).toBe('ada')
    expect(await passes(both, 'allow_cookies=false')).toBe('wren')
    expect(await passes({ ...both, Authorization: 'Digest x' })).toBe('ada')
  })

  it('takes the last of several cookies, and the Authorization field where that cannot be decrypted', async () => {
    const ada = stateCookie(t.h, await t.h.session('ada', ['read:all']))
    const wren = stateCookie(t.h, session)
    expect(await passes({ Cookie: `${wren}; ${ada}` })).toBe('ada')
    expect(await passes({ Cookie: `${ada}; gafaelfawr=x`, ...bearer(session) })).toBe('wren')
    expect((await ask('', { Cookie: `${ada}; gafaelfawr=x` })).status).toBe(401)
  })

  it('takes the first of several Authorization fields; an empty one counts as none', async () => {
    const unknown = `Bearer ${formatToken(generateToken())}`
    expect(await passes({ Authorization: [`Bearer ${session}`, unknown] })).toBe('wren')
    expect((await ask('', { Authorization: [unknown, `Bearer ${session}`] })).status).toBe(401)
    const empty = await ask('', { Authorization: '' })
    expect([empty.status, empty.value('WWW-Authenticate')]).toEqual([401, REALM])
  })

  it.each([
    ['an unknown scheme', 'Digest username="wren"'],
    ['a missing value', 'Bearer'],
    ['two different tokens', basic(formatToken(generateToken()), formatToken(generateToken()))],
    ['Basic credentials that cannot be read', 'Basic ?'],
  ])('refuses %s as 403 invalid_request, to be shown as 400', async (_what, authorization) => {
    const answer = await ask('', { Authorization: authorization })
    expect([answer.status, answer.value('X-Error-Status')]).toEqual([403, '400'])
    expect(answer.value('WWW-Authenticate')).toContain(
      `${REALM}, error="invalid_request", error_description="`,
    )
    expect(answer.detail).toMatchObject([{ type: 'invalid_request' }])
  })

  it('without credentials is 401 with a plain challenge', async () => {
    for (const headers of [{}, { Authorization: basic('user', 'password') }, { Cookie: 'gafaelfawr=x' }]) {
      const answer = await ask('scope=read:all', headers)
      expect([answer.status, answer.value('WWW-Authenticate')]).toEqual([401, REALM])
      expect([answer.value('X-Error-Status'), answer.value('X-Error-Body')]).toEqual([undefined, undefined])
      expect(answer.detail).toEqual({ msg: 'Authentication required', type: 'no_authorization' })
    }
    const challenge = (await ask('auth_type=basic')).value('WWW-Authenticate')
    expect(challenge).toBe('Basic realm="data.example.org"')
  })

  const deadTokens = async (): Promise<[what: string, token: string][]> => {
    const ended = await t.plant({ endsIn: 600, scopes: ['read:all'] })
    const revoked = await t.plant({ username: 'wren', scopes: ['user:token'] })
    await t.h.ask(`mutation { revokeToken(key: "${parseToken(revoked).key}") { keys } }`, { token: revoked })
    t.clock.advance(601)
    return [
      ['unknown', formatToken(generateToken())],
      [
        'with another secret',
        `gt-${parseToken(session).key}.${parseToken(formatToken(generateToken())).secret}`,
      ],
      ['expired', ended],
      ['revoked', revoked],
      ['the bootstrap token', t.h.bootstrapToken],
      ['of type oidc', await t.plant({ type: 'oidc', scopes: ['read:all'] })],
    ]
  }

  it('refuses a token that is unknown, expired, revoked, the bootstrap token or of type oidc as 401 invalid_token', async () => {
    for (const [what, token] of await deadTokens()) {
      const answer = await ask('', bearer(token))
      expect([what, answer.status, answer.value('X-Error-Status')]).toEqual([what, 401, '401'])
      expect(answer.value('WWW-Authenticate')).toBe(
        `${REALM}, error="invalid_token", error_description="Token is not valid"`,
      )
      expect(answer.detail).toEqual([{ msg: 'Token is not valid', type: 'invalid_token' }])
    }
    for (const text of ['eyJhbGciOiJub25lIn0.e30.', session.slice(0, -1), `${session} x`]) {
      const answer = await ask('', bearer(text))
      expect([answer.status, answer.detail]).toEqual([
        401,
        [{ msg: 'Token is malformed', type: 'invalid_token' }],
      ])
    }
  })

  it('answers a cookie with such a token by a plain 401', async () => {
    for (const [what, token] of await deadTokens()) {
      const answer = await ask('', { Cookie: stateCookie(t.h, token) })
      expect([what, answer.status, answer.value('WWW-Authenticate')]).toEqual([what, 401, REALM])
    }
  })

  it('answers a script by 403 in place of a plain 401, but an unknown bearer token by 401', async () => {
    const ajax = { 'X-Requested-With': 'xmlhttpREQUEST' }
    expect((await ask('', ajax)).status).toBe(403)
    const unknown = formatToken(generateToken())
    expect((await ask('', { ...ajax, Cookie: stateCookie(t.h, unknown) })).status).toBe(403)
    expect((await ask('', { ...ajax, ...bearer(unknown) })).status).toBe(401)
    expect((await ask('', { 'X-Requested-With': 'fetch' })).status).toBe(401)
  })
})

describe('minimum_lifetime', () => {
  it('beyond the lifetime of a token less 300 s is 422, equality is fine', async () => {
    const forever = await t.plant({ endsIn: null })
    const day = 86_400
    expect((await ask(`minimum_lifetime=${30 * day - 300}`, bearer(forever))).status).toBe(200)
    const answer = await ask(`minimum_lifetime=${30 * day - 299}`, bearer(forever))
    expect([answer.status, problems(answer.detail)]).toEqual([
      422,
      ['query minimum_lifetime invalid_minimum_lifetime'],
    ])
    expect((await ask(`notebook=1&minimum_lifetime=${LIFE - 300}`, bearer(forever))).status).toBe(200)
    expect((await ask(`notebook=1&minimum_lifetime=${LIFE - 299}`, bearer(forever))).status).toBe(422)
  })

  it('that the token does not have is 401 invalid_token without X-Error fields, or 403 for a script', async () => {
    const short = await t.plant({ endsIn: 700 })
    for (const query of [
      'minimum_lifetime=701',
      'minimum_lifetime=700.5&delegate_to=tap',
      'notebook=on&minimum_lifetime=1e3',
    ]) {
      const answer = await ask(query, bearer(short))
      expect([answer.status, answer.value('X-Error-Status')]).toEqual([401, undefined])
      expect(answer.value('WWW-Authenticate')).toContain('error="invalid_token"')
      expect(answer.detail).toEqual({ msg: 'Remaining token lifetime too short', type: 'invalid_token' })
      const ajax = await ask(query, { ...bearer(short), 'X-Requested-With': 'XMLHttpRequest' })
      expect(ajax.status).toBe(403)
    }
    expect((await ask('minimum_lifetime=700', bearer(short))).status).toBe(200)
  })

  it('is 300 s with delegation, also of the token itself: it is needed before anything is delegated', async () => {
    const short = await t.plant({ endsIn: 299 })
    expect((await ask('', bearer(short))).status).toBe(200)
    expect((await ask('delegate_to=tap', bearer(short))).status).toBe(401)
    expect((await ask('notebook=1', bearer(short))).status).toBe(401)
  })
})

describe('who may pass', () => {
  it.each([
    ['all scopes held', 'scope=read:all&scope=read:tap', 200],
    ['one of all scopes missing', 'scope=read:all&scope=write:all', 403],
    ['any scope held', 'satisfy=any&scope=write:all&scope=read:tap', 200],
    ['no scope of any held', 'satisfy=any&scope=write:all', 403],
    ['any of no scope', 'satisfy=any', 403],
    ['all of no scope', 'satisfy=all', 200],
    ['an empty scope', 'scope=', 403],
  ])('%s: %s is %d', async (_what, query, status) => {
    expect((await askAs(query)).status).toBe(status)
  })

  it('a missing scope is 403 insufficient_scope, with the sorted scopes in the challenge', async () => {
    const answer = await askAs('scope=write:all&scope=read:all&scope=exec:admin')
    expect([answer.status, answer.value('X-Error-Status')]).toEqual([403, '403'])
    expect(answer.value('WWW-Authenticate')).toBe(
      `${REALM}, error="insufficient_scope", error_description="Token missing required scope", scope="exec:admin read:all write:all"`,
    )
    expect(answer.detail).toEqual([{ msg: 'Token missing required scope', type: 'insufficient_scope' }])
    expect(JSON.parse(answer.value('X-Error-Body') ?? '')).toEqual(JSON.parse(answer.body))
    expect((await askAs('scope=')).value('WWW-Authenticate')).not.toContain('scope=')
  })

  it('only tokens of the services in only_service, and only the user in username: else 403 without a scope attribute', async () => {
    const child =
      (await askAs('delegate_to=portal&delegate_scope=read:all')).value('X-Auth-Request-Token') ?? ''
    expect((await ask('only_service=tap&only_service=portal', bearer(child))).status).toBe(200)
    expect((await askAs('username=wren')).status).toBe(200)
    for (const answer of [
      await ask('only_service=tap', bearer(child)),
      await ask('only_service=', bearer(child)),
      await askAs('only_service=portal'),
      await askAs('username=ada'),
    ]) {
      expect(answer.status).toBe(403)
      expect(answer.value('WWW-Authenticate')).toBe(
        `${REALM}, error="insufficient_scope", error_description="Access not allowed for this user"`,
      )
    }
  })
})

describe('delegation', () => {
  const tokenFor = async (query: string, headers: Headers = bearer(session)) => {
    const answer = await ask(query, headers)
    expect([query, answer.status]).toEqual([query, 200])
    return answer.value('X-Auth-Request-Token') ?? expect.fail('no token')
  }

  it('delegates an internal token with those of the scopes that the token holds and that may be delegated', async () => {
    const admin = await t.h.session('ada', ['admin:token', 'read:all', 'delegate:token'])
    const scopes =
      'delegate_scope=read:all&delegate_scope=write:all&delegate_scope=admin:token&delegate_scope=delegate:token&delegate_scope='
    const stored = await t.h.stored(await tokenFor(`delegate_to=tap&${scopes}`, bearer(admin)))
    expect(stored).toMatchObject({ type: 'internal', service: 'tap', username: 'ada', scopes: ['read:all'] })
    expect(await t.h.stored(await tokenFor('delegate_to=tap'))).toMatchObject({ scopes: [] })
  })

  it('leaves out a scope that the token holds and nobody knows', async () => {
    const parent = await t.plant({ scopes: ['read:all', 'read:forgotten'] })
    const token = await tokenFor(
      'delegate_to=tap&delegate_scope=read:forgotten&delegate_scope=read:all',
      bearer(parent),
    )
    expect((await t.h.stored(token)).scopes).toEqual(['read:all'])
  })

  it('delegates a notebook token with all scopes that may be delegated', async () => {
    const admin = await t.h.session('ada', ['admin:token', 'read:all', 'exec:notebook'])
    const stored = await t.h.stored(await tokenFor('notebook=yes', bearer(admin)))
    expect(stored).toMatchObject({ type: 'notebook', scopes: ['exec:notebook', 'read:all'] })
  })

  it('reuses a delegated token until 300 s before its end, not until half of its lifetime', async () => {
    const parent = bearer(await t.plant({ scopes: ['read:all'] }))
    const first = await tokenFor('delegate_to=tap', parent)
    t.clock.advance(LIFE - 300)
    expect(await tokenFor('delegate_to=tap', parent)).toBe(first)
    t.clock.advance(1)
    expect(await tokenFor('delegate_to=tap', parent)).not.toBe(first)
  })

  it('reuses a delegated token that has the lifetime of minimum_lifetime, and else issues one', async () => {
    const parent = bearer(await t.plant({ scopes: ['read:all'] }))
    const first = await tokenFor('notebook=1&minimum_lifetime=3300', parent)
    t.clock.advance(300)
    expect(await tokenFor('notebook=1&minimum_lifetime=3300', parent)).toBe(first)
    t.clock.advance(1)
    expect(await tokenFor('notebook=1&minimum_lifetime=3300', parent)).not.toBe(first)
  })

  it('shares its tokens with the API', async () => {
    const query = 'mutation { internalToken(service: "tap", scopes: ["read:all"]) { token } }'
    const { data } = await t.h.ask(query, { token: session })
    expect(await tokenFor('delegate_to=tap&delegate_scope=read:all')).toBe(
      (data as { internalToken: { token: string } }).internalToken.token,
    )
  })

  it('records the address of the user, through trusted proxies', async () => {
    const token = await tokenFor('delegate_to=addressed', {
      ...bearer(session),
      'X-Forwarded-For': '203.0.113.9',
    })
    const rows = await t.h.sql(
      'SELECT host(ip_address) AS ip, actor FROM token_change_history WHERE token = $1',
      [parseToken(token).key],
    )
    expect(rows).toEqual([{ ip: '203.0.113.9', actor: 'wren' }])
  })

  it('of a token that is missing in the database is 401 invalid_token, also by cookie', async () => {
    t.expectErrors()
    const parent = await t.plant({ scopes: ['read:all'], isInDatabase: false })
    for (const headers of [bearer(parent), { Cookie: stateCookie(t.h, parent) }]) {
      for (const query of ['delegate_to=tap', 'notebook=1']) {
        const answer = await ask(query, headers)
        expect([answer.status, answer.value('X-Error-Status')]).toEqual([401, '401'])
        expect(answer.detail).toMatchObject([{ type: 'invalid_token' }])
      }
    }
    expect((await ask('scope=read:all', bearer(parent))).status).toBe(200)
  })

  it('that is too deep is 403', async () => {
    let token = await t.plant({ scopes: ['read:all'] })
    for (let depth = 1; depth <= 5; depth += 1) token = await tokenFor(`delegate_to=s${depth}`, bearer(token))
    const answer = await ask('delegate_to=s6', bearer(token))
    expect([answer.status, answer.value('X-Error-Status')]).toEqual([403, '403'])
    expect(answer.detail).toMatchObject([{ type: 'delegation_too_deep' }])
  })

  it('from a user whose name no token can have is 403', async () => {
    const parent = await t.plant({ username: 'Not Valid', scopes: ['read:all'] })
    const answer = await ask('delegate_to=tap', bearer(parent))
    expect([answer.status, answer.detail]).toMatchObject([403, [{ type: 'permission_denied' }]])
  })
})

describe('a request that passes', () => {
  it('gets 200, the status in its body, and what is known of the user', async () => {
    const userInfo = { ...NO_USER_INFO, email: 'wren@example.org' }
    const token = await t.plant({ username: 'wren', userInfo })
    const answer = await ask('', bearer(token))
    expect([answer.status, answer.body, answer.value('Content-Type')]).toEqual([
      200,
      '{"status":"ok"}',
      'application/json',
    ])
    expect(answer.value('X-Auth-Request-User')).toBe('wren')
    expect(answer.value('X-Auth-Request-Email')).toBe('wren@example.org')
    expect(answer.value('Cache-Control')).toBe('no-store')
    for (const name of [
      'X-Auth-Request-Service',
      'X-Auth-Request-Token',
      'Authorization',
      'Cookie',
      'X-Error-Status',
    ]) {
      expect(answer.values(name)).toEqual([])
    }
  })

  it('gets the service of its token, and no email address where the token has none', async () => {
    const child = (await askAs('delegate_to=portal')).value('X-Auth-Request-Token') ?? ''
    const answer = await ask('', bearer(child))
    expect(answer.value('X-Auth-Request-Service')).toBe('portal')
    expect(answer.values('X-Auth-Request-Email')).toEqual([])
  })

  it('gets an email address that is percent-encoded beyond printable ASCII', async () => {
    const userInfo = { ...NO_USER_INFO, email: 'zoë%+<z@exämple.org>\n' }
    const answer = await ask('', bearer(await t.plant({ userInfo })))
    expect(answer.value('X-Auth-Request-Email')).toBe('zo%C3%AB%+<z@ex%C3%A4mple.org>%0A')
  })

  it('with use_authorization gets the delegated token as Authorization, and nothing without one', async () => {
    const fields = { Authorization: [`Bearer ${session}`, 'Basic dTpw'] }
    const answer = await ask('use_authorization=1&delegate_to=tap', fields)
    expect(answer.value('Authorization')).toBe(`Bearer ${answer.value('X-Auth-Request-Token')}`)
    expect((await ask('use_authorization=1', fields)).values('Authorization')).toEqual([])
  })

  it('gets its other Authorization fields and cookies back, without any bearer string of ours', async () => {
    const answer = await ask('', {
      Authorization: [
        'Bearer eyJ.x.y',
        `Bearer ${session}`,
        `Token ${session}`,
        basic('a', session),
        'Basic dTpw',
      ],
      Cookie: `a=1;${stateCookie(t.h, session)}; b=2; c=${session}`,
    })
    expect(answer.values('Authorization')).toEqual(['Bearer eyJ.x.y', 'Basic dTpw'])
    expect(answer.values('Cookie')).toEqual(['a=1; b=2'])
  })

  it('leaves out fields of which nothing is left', async () => {
    const answer = await ask('', { ...bearer(session), Cookie: stateCookie(t.h, session) })
    expect([...answer.values('Authorization'), ...answer.values('Cookie')]).toEqual([])
  })
})

describe('/ingress/anonymous', () => {
  const anonymous = (headers: Headers) => ask('', headers, { path: '/ingress/anonymous' })

  it('lets everybody pass, and reflects what has no bearer string of ours', async () => {
    for (const token of [session, formatToken(generateToken())]) {
      const answer = await anonymous({
        'X-Original-Method': 'OPTIONS',
        Authorization: [`bearer ${token}`, basic(token, ''), 'Basic dTpw'],
        Cookie: `${stateCookie(t.h, token)}; a=1`,
      })
      expect([answer.status, answer.body]).toEqual([200, '{"status":"ok"}'])
      expect([...answer.values('Authorization'), ...answer.values('Cookie')]).toEqual(['Basic dTpw', 'a=1'])
      expect(answer.values('X-Auth-Request-User')).toEqual([])
    }
  })

  it('needs no field of the proxy', async () => {
    const none = Object.fromEntries(Object.keys(FROM_PROXY).map((name) => [name, undefined]))
    expect((await anonymous(none)).status).toBe(200)
  })
})
