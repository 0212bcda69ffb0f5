import { describe, expect, it } from 'vitest'
import { formatToken, generateToken, parseToken } from '../../../src/domain/token.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { basic, bearer, exchangeOf, postForm, serviceToken } from '../../support/requests/oauth.ts'

const PUBLIC_URL = 'https://tokens.example.org/porthor'

describe.each(['redis', 'postgres'] as const)('POST /oauth/introspect, with tokens in %s', (store) => {
  const t = usePorthor(store, { PUBLIC_URL })
  const bot = () => serviceToken(t.h, 'bot-tap', ['introspect:token'])
  const introspect = async (token: string, headers?: Record<string, string>) =>
    postForm(t.h, '/oauth/introspect', { token }, headers ?? bearer(await bot()))
  const inactive = { active: false }

  it('returns the facts of a valid token, and nothing else', async () => {
    const session = await t.h.session('wren', ['read:all', 'user:token'])
    const { status, headers, json } = await introspect(session)
    expect(status).toBe(200)
    expect(headers['cache-control']).toBe('no-store')
    expect(headers['content-type']).toMatch(/^application\/json/)
    const stored = await t.h.stored(session)
    expect(json).toEqual({
      active: true,
      scope: 'read:all user:token',
      username: 'wren',
      sub: 'wren',
      token_type: 'Bearer',
      exp: Number(stored.expiresAt) / 1_000,
      iat: Number(stored.createdAt) / 1_000,
      iss: PUBLIC_URL,
      jti: parseToken(session).key,
      porthor_type: 'session',
    })
  })

  it('names the service of an internal token as client, audience and actor', async () => {
    const session = await t.h.session('wren', ['read:all'])
    const { json: issued } = await postForm(t.h, '/oauth/token', exchangeOf(session, { scope: 'read:all' }))
    const { json } = await introspect(String(issued.access_token))
    expect(json).toMatchObject({
      active: true,
      scope: 'read:all',
      sub: 'wren',
      client_id: 'tap',
      aud: 'tap',
      act: { sub: 'tap' },
      porthor_type: 'internal',
    })
  })

  it('has no exp for a token that never expires', async () => {
    const { json } = await introspect(await bot())
    expect(json).toMatchObject({ active: true, username: 'bot-tap', porthor_type: 'service' })
    expect(json).not.toHaveProperty('exp')
  })

  it('says only that it is inactive of every token that is not valid here', async () => {
    const session = await t.h.session('wren', ['read:all'])
    const { json: child } = await postForm(t.h, '/oauth/token', exchangeOf(session))
    await postForm(t.h, '/oauth/revoke', { token: session })
    const stranger = formatToken(generateToken())
    const tokens = {
      revoked: session,
      'with a revoked parent': String(child.access_token),
      expired: await t.plant({ endsIn: -1 }),
      unknown: stranger,
      'with a wrong secret': formatToken({ ...generateToken(), key: parseToken(await bot()).key }),
      malformed: 'gt-',
      'of another program': 'eyJhbGciOiJIUzI1NiJ9.e30.x',
      'with a NUL': `gt-${'\0'.repeat(22)}.${'\0'.repeat(22)}`,
      'in other characters': `gt-${'é'.repeat(22)}.${'é'.repeat(22)}`,
      bootstrap: t.h.bootstrapToken,
      'of type OIDC': await t.plant({ type: 'oidc' }),
      'with a space after it': `${stranger} `,
    }
    for (const [what, token] of Object.entries(tokens)) {
      const { status, json } = await introspect(token)
      expect([what, status, json]).toEqual([what, 200, inactive])
    }
  })

  it('accepts introspect:token, admin:token and the bootstrap token, by Bearer and by Basic', async () => {
    const token = await t.h.session()
    const admin = await t.h.session('ada', ['admin:token'])
    const service = await bot()
    for (const headers of [
      bearer(service),
      bearer(admin),
      bearer(t.h.bootstrapToken),
      basic('bot-tap', service),
      basic('ada', admin),
      basic('<bootstrap>', t.h.bootstrapToken),
    ]) {
      expect((await introspect(token, headers)).json).toMatchObject({ active: true })
    }
  })

  it('refuses a client without the scope, with 403 and insufficient_scope, whatever token it sends', async () => {
    const session = await t.h.session('wren', ['user:token', 'read:all'])
    for (const token of [session, 'gt-']) {
      const { status, headers, json } = await introspect(token, bearer(session))
      expect([status, json.error]).toEqual([403, 'insufficient_scope'])
      expect(headers['www-authenticate']).toBe(
        'Bearer realm="porthor", error="insufficient_scope", scope="introspect:token"',
      )
    }
  })

  it('refuses a client that does not authenticate, with 401, and challenges it in the scheme that it used', async () => {
    const token = await t.h.session()
    const wrong = formatToken(generateToken())
    const basicChallenge = 'Basic realm="porthor", charset="UTF-8"'
    const bearerChallenge = 'Bearer realm="porthor", error="invalid_token"'
    const both = `${basicChallenge}, Bearer realm="porthor"`
    const cases: readonly (readonly [Record<string, string>, string])[] = [
      [{}, both],
      [{ Authorization: 'Digest x' }, both],
      [bearer(wrong), bearerChallenge],
      [bearer('gt-'), bearerChallenge],
      [{ Authorization: 'Bearer' }, bearerChallenge],
      [{ Authorization: 'Bearer a b' }, bearerChallenge],
      [bearer(await t.plant({ type: 'oidc' })), bearerChallenge],
      [basic('bot-tap', wrong), basicChallenge],
      [basic('bot-other', await bot()), basicChallenge],
      [basic('', await bot()), basicChallenge],
      [{ Authorization: 'Basic ????' }, basicChallenge],
      [{ Authorization: `Basic ${Buffer.from('%:%').toString('base64')}` }, basicChallenge],
      [{ Authorization: `Basic ${Buffer.from('no-colon').toString('base64')}` }, basicChallenge],
    ]
    for (const [sent, challenge] of cases) {
      const { status, headers, json } = await introspect(token, sent)
      expect([sent, status, json.error]).toEqual([sent, 401, 'invalid_client'])
      expect(headers['www-authenticate']).toBe(challenge)
    }
  })

  it('does not count what an authenticated client asks about as failed authentications', async () => {
    await t.h.restart({ AUTH_FAILURES_PER_MINUTE: '2' })
    const headers = bearer(await bot())
    for (let time = 0; time < 5; time += 1) {
      expect((await introspect(formatToken(generateToken()), headers)).json).toEqual(inactive)
    }
    const wrong = () => introspect('gt-', bearer(formatToken(generateToken())))
    expect([(await wrong()).status, (await wrong()).status]).toEqual([401, 401])
    const { status, headers: sent, json } = await wrong()
    expect([status, json.error]).toEqual([429, 'temporarily_unavailable'])
    expect(Number(sent['retry-after'])).toBeGreaterThan(0)
    // A valid client is accepted from any address.
    expect((await introspect(await t.h.session(), headers)).json).toMatchObject({ active: true })
  })
})
