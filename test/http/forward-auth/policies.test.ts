import { describe, expect, it } from 'vitest'
import { formatToken, generateToken, parseToken } from '../../../src/domain/token.ts'
import { Fernet } from '../../../src/lib/fernet.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { send } from '../../support/requests/http.ts'
import { AUTH_ENV, askGateway, askWith, basic, delegatedKey, rowOf } from './policies.ts'

const BEARER = /^Bearer gt-[\w-]{22}\.[\w-]{22}$/

const api = usePorthor('postgres', AUTH_ENV)

const state = (token: string) =>
  new Fernet([api.h.env.SESSION_SECRET ?? '']).encrypt(JSON.stringify({ token }), { now: new Date() })

describe('a policy', () => {
  it('that checks passes whoever holds its scopes, and names the user', async () => {
    const userInfo = {
      name: 'Zoë',
      email: 'zoë@x.org',
      uid: 7,
      gid: 7,
      groups: [
        { name: 'a', id: 1 },
        { name: 'b', id: 2 },
      ],
    }
    const bearer = await api.plant({ scopes: ['read:all', 'user:token'], userInfo })
    const { status, headers, body } = await askWith(api.h, 'check', bearer)
    expect({ status, body }).toEqual({ status: 200, body: '' })
    expect(headers).toMatchObject({
      'cache-control': 'no-store',
      'content-length': '0',
      'x-auth-request-policy': 'check',
      'x-auth-request-user': 'wren',
      'x-auth-request-email': 'zo%C3%AB@x.org',
      'x-auth-request-uid': '7',
      'x-auth-request-groups': 'a,b',
      'x-auth-request-scopes': 'read:all,user:token',
      'x-auth-request-service': '',
      'x-auth-request-token': '',
      cookie: '',
    })
    expect(headers).not.toHaveProperty('authorization')
  })

  it('that delegates gives the service a token of its own, with those of the scopes that the user holds', async () => {
    const bearer = await api.h.session('wren', ['read:all', 'exec:notebook'])
    const answer = await askWith(api.h, 'tap', bearer)
    const token = String(answer.headers['x-auth-request-token'])
    expect(answer.headers.authorization).toBe(`Bearer ${token}`)
    expect(await rowOf(api.h, delegatedKey(answer))).toEqual({
      service: 'tap',
      scopes: 'read:all',
      token_type: 'internal',
      parent: parseToken(bearer).key,
    })
    expect((await api.h.stored(token)).scopes).toEqual(['read:all'])
    const again = await askWith(api.h, 'tap', bearer)
    expect(delegatedKey(again)).toBe(delegatedKey(answer))
  })

  it('can delegate a notebook token, which has all delegable scopes of the user', async () => {
    const bearer = await api.h.session('wren', ['read:all', 'admin:token'])
    const answer = await askWith(api.h, 'notebook', bearer)
    const row = await rowOf(api.h, delegatedKey(answer))
    expect(row).toMatchObject({ token_type: 'notebook', scopes: 'read:all', service: null })
  })

  it.each([
    ['removes the Authorization header where the policy says so', 'hidden', ''],
    ['leaves the Authorization header as it is where the policy says so', 'kept', undefined],
    ['leaves the Authorization header as it is where nothing is delegated', 'mine', undefined],
    ['can remove the Authorization header where nothing is delegated', 'removed', ''],
    ['replaces the Authorization header where it delegates', 'tap', expect.stringMatching(BEARER)],
  ])('%s', async (_what, policy, expected) => {
    const { status, headers } = await askWith(api.h, policy, await api.h.session())
    expect(status).toBe(200)
    expect(headers.authorization).toEqual(expected)
  })

  it('asks for all of its scopes, or for any of them', async () => {
    const { h } = api
    const [tap, all, none] = [
      await h.session('wren', ['read:tap']),
      await h.session('wren', ['read:all']),
      await h.session('wren', []),
    ]
    const statuses = async (policy: string) => {
      const answers = [
        await askWith(h, policy, tap),
        await askWith(h, policy, all),
        await askWith(h, policy, none),
      ]
      return answers.map(({ status }) => status)
    }
    expect(await statuses('check')).toEqual([403, 200, 403])
    expect(await statuses('any')).toEqual([200, 200, 403])
    const { headers } = await askWith(h, 'any', none)
    expect(headers['www-authenticate']).toMatch(/error="insufficient_scope".*, scope="read:all read:tap"$/)
    expect(headers['x-auth-request-policy']).toBe('any')
  })

  it('can be for internal tokens of some services only, and states of which the token is', async () => {
    const bearer = await api.h.session()
    expect((await askWith(api.h, 'inner', bearer)).status).toBe(403)
    const token = String((await askWith(api.h, 'tap', bearer)).headers['x-auth-request-token'])
    const inner = await askWith(api.h, 'inner', token)
    expect(inner.status).toBe(200)
    expect(inner.headers['x-auth-request-service']).toBe('tap')
    const notebook = String((await askWith(api.h, 'notebook', bearer)).headers['x-auth-request-token'])
    const refused = await askWith(api.h, 'inner', notebook)
    expect(refused.status).toBe(403)
    expect(refused.headers['www-authenticate']).not.toContain('scope="')
  })

  it('can be for one user only', async () => {
    expect((await askWith(api.h, 'mine', await api.h.session('wren'))).status).toBe(200)
    expect((await askWith(api.h, 'mine', await api.h.session('rook'))).status).toBe(403)
  })

  it.each([
    ['tap', 299, 401],
    ['tap', 300, 200],
    ['long', 3_599, 401],
    ['long', 3_600, 200],
    ['stays', 3_599, 401],
    ['stays', 3_600, 200],
    ['check', 1, 200],
  ])('%s lets a token with %i s left get %i', async (policy, endsIn, expected) => {
    const bearer = await api.plant({ scopes: ['read:all'], endsIn })
    const { status, headers } = await askWith(api.h, policy, bearer)
    expect(status).toBe(expected)
    if (expected === 401) expect(headers['www-authenticate']).toContain('error="invalid_token"')
  })

  it('that is not there is 404, whatever is sent', async () => {
    const { status, headers } = await askWith(api.h, 'nothing', await api.h.session())
    expect(status).toBe(404)
    expect(headers).not.toHaveProperty('x-auth-request-policy')
  })
})

describe('a policy for everybody', () => {
  it('passes without a token, and states no identity', async () => {
    const { status, headers } = await askGateway(api.h, 'open', { 'X-Auth-Request-User': 'ada' })
    expect(status).toBe(200)
    expect(headers).toMatchObject({
      'x-auth-request-policy': 'open',
      'x-auth-request-user': '',
      'x-auth-request-token': '',
      authorization: '',
    })
  })

  it('takes bearer strings of ours out of Authorization and cookies, and leaves the rest', async () => {
    const bearer = await api.h.session()
    const own = basic('wren', 'password')
    for (const value of [`Bearer ${bearer}`, basic(bearer, ''), basic('x', bearer), `token ${bearer}`]) {
      const { status, headers } = await askGateway(api.h, 'open', {
        Authorization: value,
        Cookie: `a=1; session=x; gafaelfawr=y; b=${bearer}`,
      })
      expect(status).toBe(200)
      expect(headers).toMatchObject({ authorization: '', cookie: 'a=1' })
    }
    const { headers } = await askGateway(api.h, 'open', { Authorization: [`Bearer ${bearer}`, own] })
    expect(headers.authorization).toBe(own)
  })
})

describe('the token of a request', () => {
  it.each([
    ['as Bearer', (bearer: string) => ({ Authorization: `bEaReR  ${bearer} ` })],
    ['as username of Basic', (bearer: string) => ({ Authorization: basic(bearer, '') })],
    ['as password of Basic', (bearer: string) => ({ Authorization: basic('x-oauth-basic', bearer) })],
    ['as both of Basic', (bearer: string) => ({ Authorization: basic(bearer, bearer) })],
    [
      'in two equal Authorization fields',
      (bearer: string) => ({ Authorization: [`Bearer ${bearer}`, `Bearer ${bearer}`] }),
    ],
    ['in the cookie', (bearer: string) => ({ Cookie: `a=b; session=${bearer}` })],
    ["in Gafaelfawr's cookie", (bearer: string) => ({ Cookie: `session="${state(bearer)}"` })],
    ['in the last of several cookies', (bearer: string) => ({ Cookie: `session=gt-x; session=${bearer}` })],
    [
      'in the cookie beside another scheme',
      (bearer: string) => ({ Authorization: 'Digest x', Cookie: `session=${bearer}` }),
    ],
    [
      'in the cookie beside a token that is not ours',
      (bearer: string) => ({ Authorization: 'Bearer eyJh', Cookie: `session=${bearer}` }),
    ],
    [
      'in the cookie beside another password',
      (bearer: string) => ({ Authorization: basic('wren', 'pw'), Cookie: `session=${bearer}` }),
    ],
    [
      'in the cookie beside Basic of a user whose name begins as a token',
      (bearer: string) => ({ Authorization: basic('gt-smith', 'pw'), Cookie: `session=${bearer}` }),
    ],
    [
      'as password of Basic beside a name that begins as a token',
      (bearer: string) => ({ Authorization: basic('gt-smith', bearer) }),
    ],
  ])('may be sent %s', async (_what, headersOf) => {
    const answer = await askGateway(api.h, 'check', headersOf(await api.h.session()))
    expect(answer.status).toBe(200)
    expect(answer.headers['x-auth-request-user']).toBe('wren')
  })

  it('is refused with 403 where there are two that differ', async () => {
    const [one, other] = [await api.h.session('wren'), await api.h.session('rook')]
    for (const value of [
      basic(one, other),
      [`Bearer ${one}`, `Bearer ${other}`],
      [`Bearer ${one}`, 'Digest x'],
    ]) {
      const { status, headers } = await askGateway(api.h, 'check', { Authorization: value })
      expect(status).toBe(403)
      expect(headers['www-authenticate']).toContain('error="invalid_request"')
      expect(headers['x-auth-request-policy']).toBe('check')
    }
  })

  it('is missed with a challenge that names no error, also beside what is not ours', async () => {
    for (const headers of [
      {},
      { Authorization: '' },
      { Authorization: 'Digest x' },
      { Cookie: 'session=eyJh; other=gt-x' },
    ]) {
      const answer = await askGateway(api.h, 'check', headers)
      expect(answer.status).toBe(401)
      expect(answer.headers['www-authenticate']).toBe('Bearer realm="porthor"')
      expect(answer.headers['cache-control']).toBe('no-store')
    }
  })

  it('that is unknown, malformed, expired or the bootstrap token is 401, in spite of a valid cookie', async () => {
    const valid = await api.h.session()
    const expired = await api.plant({ scopes: ['read:all'], endsIn: -1 })
    const secret = formatToken({ ...generateToken(), key: parseToken(valid).key })
    for (const bearer of [
      formatToken(generateToken()),
      secret,
      'gt-',
      `${valid}x`,
      `${valid}, Bearer ${valid}`,
      expired,
      api.h.bootstrapToken,
    ]) {
      const answer = await askGateway(api.h, 'check', {
        Authorization: `Bearer ${bearer}`,
        Cookie: `session=${valid}`,
      })
      expect(answer.status).toBe(401)
      expect(answer.headers['www-authenticate']).toContain('error="invalid_token"')
      const cookie = await askGateway(api.h, 'check', { Cookie: `session=${bearer}` })
      expect(cookie.status).toBe(401)
    }
  })

  it('is refused once it is revoked', async () => {
    const bearer = await api.h.session()
    expect((await askWith(api.h, 'tap', bearer)).status).toBe(200)
    await api.h.ask(`mutation { revokeToken(key: "${parseToken(bearer).key}") { keys } }`, { token: bearer })
    expect((await askWith(api.h, 'tap', bearer)).status).toBe(401)
  })

  it('of the type OIDC is refused with 403', async () => {
    const bearer = await api.plant({ type: 'oidc', scopes: ['read:all'] })
    expect((await askWith(api.h, 'check', bearer)).status).toBe(403)
  })

  it('is refused with 401 where the database does not have it and something is to be delegated', async () => {
    api.expectErrors()
    const bearer = await api.plant({ scopes: ['read:all'], isInDatabase: false })
    expect((await askWith(api.h, 'tap', bearer)).status).toBe(401)
  })
})

describe('with rights of delegation', () => {
  const strict = usePorthor('postgres', {
    ...AUTH_ENV,
    DELEGATION: 'gateway',
    DELEGATION_SERVICES: '{"tap":["read:tap"],"portal":[]}',
  })

  it('delegates where users may not (rule 15), and leaves out scopes that the service may not have (rule 16)', async () => {
    const { h } = strict
    const bearer = await h.session('wren', ['read:all', 'read:tap'])
    const own = await h.ask('mutation { internalToken(service: "tap") { key } }', { token: bearer })
    expect(own.code).toBe('PERMISSION_DENIED')
    const answer = await askWith(h, 'tap', bearer)
    expect(answer.status).toBe(200)
    expect(await rowOf(h, delegatedKey(answer))).toMatchObject({ service: 'tap', scopes: 'read:tap' })
  })

  it('does not delegate from a delegated token unless DELEGATION_CHAINS is on', async () => {
    const { h } = strict
    const bearer = await h.session('wren', ['read:all'])
    const token = String((await askWith(h, 'tap', bearer)).headers['x-auth-request-token'])
    expect((await askWith(h, 'notebook', token)).status).toBe(403)
  })
})

describe('limits on delegation', () => {
  const limited = usePorthor('postgres', { ...AUTH_ENV, MAX_CHILDREN: '1', DELEGATION_MAX_DEPTH: '1' })

  it('are 403 for whoever exceeds them: NGINX would turn a 429 into a 500', async () => {
    const { h } = limited
    const bearer = await h.session()
    const token = String((await askWith(h, 'tap', bearer)).headers['x-auth-request-token'])
    const many = await askWith(h, 'notebook', bearer)
    expect(many.status).toBe(403)
    const deep = await askWith(h, 'notebook', token)
    expect(deep.status).toBe(403)
    const { body } = await send(new URL('/metrics', h.url).href)
    expect(body).toContain('porthor_auth_requests_total{policy="notebook",outcome="TOO_MANY_TOKENS"} 1')
    expect(body).toContain('porthor_auth_requests_total{policy="notebook",outcome="DELEGATION_TOO_DEEP"} 1')
    expect(body).toContain('porthor_auth_requests_total{policy="tap",outcome="ok"} 1')
    expect(body).toContain('porthor_auth_requests_total{policy="open",outcome="UNAVAILABLE"} 0')
    expect(body).toContain('porthor_auth_request_duration_seconds_count{policy="open"} 0')
  })
})

describe('a store that is unavailable', () => {
  const cut = usePorthor('redis', AUTH_ENV, { isFresh: true })

  it('is 503 with Retry-After, and never a refusal', async () => {
    const bearer = await cut.h.session()
    await cut.h.restart({ REDIS_URL: 'redis://127.0.0.1:1/0' })
    for (const policy of ['check', 'tap']) {
      const { status, headers } = await askWith(cut.h, policy, bearer)
      expect(status).toBe(503)
      expect(headers['retry-after']).toBe('1')
      expect(headers['x-auth-request-policy']).toBe(policy)
      expect(headers).not.toHaveProperty('www-authenticate')
    }
  })
})

it('a request is logged with its policy, user, key and outcome', async () => {
  const bearer = await api.h.session()
  await askWith(api.h, 'tap', bearer)
  const line = api.h.logLines.findLast(({ msg }) => msg === 'forward-auth')
  expect(line).toMatchObject({
    policy: 'tap',
    username: 'wren',
    tokenKey: parseToken(bearer).key,
    source: 'new',
    outcome: 'ok',
    ipAddress: '127.0.0.1',
    durationMs: expect.any(Number),
  })
})
