import { describe, expect, it } from 'vitest'
import { formatToken, generateToken, parseToken } from '../../../src/domain/token.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import {
  ACCESS_TOKEN,
  basic,
  bearer,
  exchangeOf,
  type FormFields,
  NOTEBOOK,
  postForm,
  serviceToken,
} from '../../support/requests/oauth.ts'

const LIFE = 7_200

describe.each(['redis', 'postgres'] as const)('POST /oauth/token, with tokens in %s', (store) => {
  const t = usePorthor(store, { TOKEN_LIFETIME: `${LIFE}s`, DELEGATION_MAX_DEPTH: '3', MAX_CHILDREN: '5' })
  const exchange = (fields: FormFields, headers = {}) => postForm(t.h, '/oauth/token', fields, headers)
  const tokenOf = async (fields: FormFields) => {
    const { json } = await exchange(fields)
    if (typeof json.access_token !== 'string') throw new Error(`no token: ${JSON.stringify(json)}`)
    return json.access_token
  }
  const isAccepted = async (token: string) =>
    (await t.h.ask('{ scopes { name } }', { token })).errors.length === 0
  const errorOf = async (fields: FormFields, headers = {}) => {
    const { status, json } = await exchange(fields, headers)
    expect(json).not.toHaveProperty('access_token')
    return [status, json.error]
  }
  const invalidRequest = [400, 'invalid_request']
  const invalidTarget = [400, 'invalid_target']
  const invalidScope = [400, 'invalid_scope']

  it('issues an internal token for the audience, with the requested scopes, and reuses it', async () => {
    const session = await t.h.session('wren', ['read:all', 'read:tap'])
    const fields = exchangeOf(session, { scope: 'read:tap' })
    const { status, headers, json } = await exchange(fields)
    expect(status).toBe(200)
    expect(json).toEqual({
      access_token: expect.stringMatching(/^gt-/),
      issued_token_type: ACCESS_TOKEN,
      token_type: 'Bearer',
      expires_in: LIFE,
      scope: 'read:tap',
    })
    expect(headers).toMatchObject({
      'cache-control': 'no-store',
      pragma: 'no-cache',
      'content-type': 'application/json; charset=utf-8',
      'porthor-source': 'NEW',
    })
    const stored = await t.h.stored(String(json.access_token))
    expect(stored).toMatchObject({ type: 'internal', service: 'tap', username: 'wren', scopes: ['read:tap'] })

    t.clock.advance(60)
    const again = await exchange(fields)
    expect(again.json).toEqual({ ...json, expires_in: LIFE - 60 })
    expect(again.headers['porthor-source']).toBe('CACHE')
    await t.h.ask('mutation { clearTokenCache { internal } }', { token: t.h.bootstrapToken })
    expect((await exchange(fields)).headers['porthor-source']).toBe('DATABASE')
  })

  it('issues the token that GraphQL issues for the same request', async () => {
    const session = await t.h.session('wren', ['read:all'])
    const token = await tokenOf(
      exchangeOf(session, { scope: 'read:all', requested_token_type: ACCESS_TOKEN }),
    )
    const { data } = await t.h.ask(
      'mutation { internalToken(service: "tap", scopes: ["read:all"]) { token } }',
      { token: session },
    )
    expect(data).toEqual({ internalToken: { token } })
  })

  it('issues a token without scopes where none is requested', async () => {
    const session = await t.h.session('wren', ['read:all'])
    const { json } = await exchange(exchangeOf(session))
    expect(json).toMatchObject({ scope: '' })
  })

  it('issues a notebook token, with all delegable scopes, and names its type', async () => {
    const session = await t.h.session('wren', ['read:all', 'exec:notebook', 'admin:token'])
    const { audience: _none, ...fields } = exchangeOf(session, { requested_token_type: NOTEBOOK })
    const { json } = await exchange(fields)
    expect(json).toMatchObject({ issued_token_type: NOTEBOOK, scope: 'exec:notebook read:all' })
    expect(await t.h.stored(String(json.access_token))).toMatchObject({ type: 'notebook' })
    expect(await errorOf({ ...fields, audience: 'tap' })).toEqual(invalidTarget)
    expect(await errorOf({ ...fields, scope: 'read:all' })).toEqual(invalidScope)
  })

  it('honours minimum_lifetime', async () => {
    const session = await t.h.session('wren')
    const first = await tokenOf(exchangeOf(session))
    t.clock.advance(LIFE / 4)
    expect(await tokenOf(exchangeOf(session))).toBe(first)
    const longest = String(LIFE - 300)
    const fresh = await t.h.session('wren')
    expect(await tokenOf(exchangeOf(fresh, { minimum_lifetime: longest }))).toMatch(/^gt-/)
    for (const minimum of ['299', String(LIFE - 299), '1.5', '-1', '1e3', '0x400', '99999999999', 'soon']) {
      expect([minimum, ...(await errorOf(exchangeOf(fresh, { minimum_lifetime: minimum })))]).toEqual([
        minimum,
        ...invalidRequest,
      ])
    }
    expect(await errorOf(exchangeOf(session, { minimum_lifetime: longest }))).toEqual(invalidRequest)
    expect(await errorOf(exchangeOf(await t.plant({ endsIn: 299 })))).toEqual(invalidRequest)
  })

  it('refuses a subject that is not valid, or from which nothing is delegated', async () => {
    const session = await t.h.session()
    await postForm(t.h, '/oauth/revoke', { token: session })
    for (const subject of [
      session,
      formatToken(generateToken()),
      await t.plant({ endsIn: -1 }),
      'gt-',
      'eyJhbGciOiJIUzI1NiJ9.e30.x',
      `gt-${'\0'.repeat(22)}.${'\0'.repeat(22)}`,
      t.h.bootstrapToken,
      await t.plant({ type: 'oidc' }),
      await t.plant({ username: 'Not A Username' }),
    ]) {
      expect([subject, ...(await errorOf(exchangeOf(subject)))]).toEqual([subject, ...invalidRequest])
    }
  })

  it('never widens scopes: those that are unknown, not held or never delegated are invalid_scope', async () => {
    const session = await t.h.session('wren', ['read:all', 'admin:token', 'introspect:token'])
    for (const scope of [
      'read:nothing',
      'read:tap',
      'read:all read:tap',
      'admin:token',
      'introspect:token',
      '"',
    ]) {
      expect([scope, ...(await errorOf(exchangeOf(session, { scope })))]).toEqual([scope, ...invalidScope])
    }
    const child = await tokenOf(exchangeOf(session, { scope: 'read:all' }))
    const grandchild = await tokenOf(exchangeOf(child))
    expect(await errorOf(exchangeOf(grandchild, { scope: 'read:all' }))).toEqual(invalidScope)
    const { json } = await exchange(exchangeOf(session, { scope: 'read:tap' }))
    expect(json.error_description).toBe('subject_token does not hold these scopes: read:tap')
  })

  it('refuses audiences that name no single service, and every resource', async () => {
    const session = await t.h.session()
    const { audience: _none, ...fields } = exchangeOf(session)
    const entries = Object.entries(exchangeOf(session))
    expect(await errorOf(fields)).toEqual(invalidRequest)
    for (const audience of [
      'a b',
      'https://tap.example.org',
      'x'.repeat(65),
      '\0',
      formatToken(generateToken()),
    ]) {
      expect([audience, ...(await errorOf({ ...fields, audience }))]).toEqual([audience, ...invalidTarget])
    }
    expect(await errorOf([...entries, ['audience', 'other']])).toEqual(invalidTarget)
    expect(await errorOf([...entries, ['audience', 'tap']])).toEqual(invalidTarget)
    expect(await errorOf([...entries, ['resource', 'https://tap.example.org']])).toEqual(invalidTarget)
    expect(await errorOf([...entries, ['resource', 'a'], ['resource', 'b']])).toEqual(invalidTarget)
  })

  it('requires the parameters of RFC 8693, with the types that it supports', async () => {
    const fields: Record<string, string> = exchangeOf(await t.h.session())
    for (const name of ['grant_type', 'subject_token', 'subject_token_type']) {
      const { [name]: _left, ...others } = fields
      expect([name, ...(await errorOf(others))]).toEqual([name, ...invalidRequest])
      // RFC 6749 3.2: without a value it counts as left out.
      expect([name, ...(await errorOf({ ...fields, [name]: '' }))]).toEqual([name, ...invalidRequest])
    }
    const jwt = 'urn:ietf:params:oauth:token-type:jwt'
    expect(await errorOf({ ...fields, subject_token_type: jwt })).toEqual(invalidRequest)
    expect(await errorOf({ ...fields, requested_token_type: jwt })).toEqual(invalidRequest)
    expect(await errorOf({ ...fields, grant_type: 'client_credentials' })).toEqual([
      400,
      'unsupported_grant_type',
    ])
  })

  it('requires that an actor is a valid token, and gives it no rights', async () => {
    const fields = exchangeOf(await t.h.session('wren', ['read:all']))
    const actor = await serviceToken(t.h, 'bot-mcp', ['read:tap'])
    const withActor = { ...fields, actor_token: actor, actor_token_type: ACCESS_TOKEN }
    expect(await tokenOf(withActor)).toBe(await tokenOf(fields))
    expect(await errorOf({ ...withActor, scope: 'read:tap' })).toEqual(invalidScope)
    for (const wrong of ['gt-', formatToken(generateToken()), await t.plant({ type: 'oidc' })]) {
      expect(await errorOf({ ...withActor, actor_token: wrong })).toEqual(invalidRequest)
    }
    expect(await errorOf({ ...fields, actor_token: actor })).toEqual(invalidRequest)
    expect(await errorOf({ ...fields, actor_token_type: ACCESS_TOKEN })).toEqual(invalidRequest)
    expect(await errorOf({ ...withActor, actor_token_type: NOTEBOOK })).toEqual(invalidRequest)
  })

  it('needs no client authentication where tokens delegate for themselves, and refuses one that is wrong', async () => {
    const fields = exchangeOf(await t.h.session())
    const actor = await serviceToken(t.h, 'bot-mcp', [])
    for (const headers of [{}, bearer(actor), basic('bot-mcp', actor)]) {
      expect((await exchange(fields, headers)).status).toBe(200)
    }
    expect((await exchange({ ...fields, client_id: 'mcp' })).status).toBe(200)
    const invalidClient = [401, 'invalid_client']
    expect(await errorOf(fields, bearer(formatToken(generateToken())))).toEqual(invalidClient)
    expect(await errorOf(fields, basic('bot-other', actor))).toEqual(invalidClient)
    const secret = { ...fields, client_id: 'bot-mcp', client_secret: actor }
    expect(await errorOf(secret)).toEqual(invalidClient)
    expect(await errorOf(secret, basic('bot-mcp', actor))).toEqual(invalidRequest)
    expect(await errorOf({ ...fields, client_assertion: 'x' })).toEqual(invalidClient)
  })

  it('a chain of exchanges never outlives its first subject', async () => {
    const parent = await t.parent({ scopes: ['read:all'], endsIn: LIFE / 2 })
    const first = formatToken(parent.token)
    const chain = [first]
    for (const audience of ['gateway', 'tap', 'images']) {
      chain.push(await tokenOf(exchangeOf(chain.at(-1) ?? '', { audience, scope: 'read:all' })))
    }
    for (const token of chain) {
      const { expiresAt } = await t.h.stored(token)
      expect(Number(expiresAt)).toBeLessThanOrEqual(Number(parent.expiresAt))
    }
    const last = chain.at(-1) ?? ''
    expect(await isAccepted(last)).toBe(true)
    await postForm(t.h, '/oauth/revoke', { token: first })
    for (const token of chain) {
      expect(await isAccepted(token)).toBe(false)
      expect(await errorOf(exchangeOf(token))).toEqual(invalidRequest)
    }
  })

  it('limits depth and number of delegated tokens, with unauthorized_client', async () => {
    const session = await t.h.session('wren', ['read:all'])
    let token = session
    for (let depth = 0; depth < 3; depth += 1) token = await tokenOf(exchangeOf(token))
    expect(await errorOf(exchangeOf(token))).toEqual([400, 'unauthorized_client'])
    for (let count = 1; count < 5; count += 1) await tokenOf(exchangeOf(session, { audience: `s${count}` }))
    expect(await errorOf(exchangeOf(session, { audience: 's5' }))).toEqual([400, 'unauthorized_client'])
  })

  it('logs who acts, the outcome and the source, and counts them, without tokens', async () => {
    const session = await t.h.session('wren')
    const before = t.h.logLines.length
    await exchange(exchangeOf(session))
    await errorOf(exchangeOf(session, { audience: 'a b' }))
    const lines = t.h.logLines.slice(before).filter(({ msg }) => msg === 'oauth request')
    const { key } = parseToken(session)
    const common = { endpoint: 'token', username: 'wren', tokenKey: key, ipAddress: '127.0.0.1' }
    expect(lines).toMatchObject([
      { ...common, outcome: 'ok', source: 'new' },
      { ...common, outcome: 'invalid_target' },
    ])
    const metrics = await (await fetch(new URL('/metrics', t.h.url))).text()
    expect(metrics).toMatch(/^porthor_oauth_requests_total\{endpoint="token",outcome="ok"\} [1-9]/m)
    expect(metrics).toMatch(
      /^porthor_oauth_requests_total\{endpoint="token",outcome="invalid_target"\} [1-9]/m,
    )
    expect(metrics).toMatch(/^porthor_oauth_requests_total\{endpoint="revoke",outcome="invalid_client"\} 0$/m)
    expect(metrics).toMatch(/^porthor_oauth_request_duration_seconds_count\{endpoint="token"\} [1-9]/m)
    expect(metrics).toMatch(/^porthor_delegated_tokens_total\{source="new"\} [1-9]/m)
  })

  it('counts subjects and actors that are not valid as failed authentications of their address', async () => {
    await t.h.restart({ AUTH_FAILURES_PER_MINUTE: '3' })
    const session = await t.h.session()
    const actor = { actor_token: formatToken(generateToken()), actor_token_type: ACCESS_TOKEN }
    expect(await errorOf(exchangeOf(session, actor))).toEqual(invalidRequest)
    const guess = () => exchange(exchangeOf(formatToken(generateToken())))
    expect([(await guess()).status, (await guess()).status]).toEqual([400, 400])
    const { status, headers, json } = await guess()
    expect([status, json.error]).toEqual([429, 'temporarily_unavailable'])
    expect(Number(headers['retry-after'])).toBeGreaterThan(0)
    expect((await exchange(exchangeOf(session))).status).toBe(200)
  })
})
