import { describe, expect, it } from 'vitest'
import { formatToken, generateToken, parseToken } from '../../../src/domain/token.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { bearer, exchangeOf, postForm } from '../../support/requests/oauth.ts'

const VIEWER = '{ viewer { user { username } } }'

describe.each(['redis', 'postgres'] as const)('POST /oauth/revoke, with tokens in %s', (store) => {
  const t = usePorthor(store)
  const revoke = (token: string, headers = {}) => postForm(t.h, '/oauth/revoke', { token }, headers)
  const isAccepted = async (token: string) => (await t.h.ask(VIEWER, { token })).status === 200
  const keyOf = (token: string) => parseToken(token).key
  const exchange = async (token: string) =>
    String((await postForm(t.h, '/oauth/token', exchangeOf(token))).json.access_token)

  it('revokes a token for whoever has its bearer string, without scopes and credentials, with its tree', async () => {
    const session = await t.h.session('wren', [])
    const child = await exchange(session)
    const grandchild = await exchange(child)
    const { status, headers, body } = await revoke(session)
    expect([status, body]).toEqual([200, ''])
    expect(headers['cache-control']).toBe('no-store')
    for (const token of [session, child, grandchild]) expect(await isAccepted(token)).toBe(false)
    const events = await t.h.sql(
      'SELECT actor, host(ip_address) AS ip FROM token_change_history WHERE token = $1 AND action = $2',
      [keyOf(session), 'revoke'],
    )
    expect(events).toEqual([{ actor: 'wren', ip: '127.0.0.1' }])
  })

  it('leaves the parent of a revoked token, and its other children', async () => {
    const session = await t.h.session('wren', ['read:all'])
    const child = await exchange(session)
    const other = String(
      (await postForm(t.h, '/oauth/token', exchangeOf(session, { audience: 'other' }))).json.access_token,
    )
    expect((await revoke(child)).status).toBe(200)
    expect(await Promise.all([session, child, other].map(isAccepted))).toEqual([true, false, true])
  })

  it('responds with 200 to a token that is not valid, as often as it is sent', async () => {
    const session = await t.h.session()
    const { key } = parseToken(session)
    const tokens = [
      session,
      session,
      formatToken(generateToken()),
      formatToken({ ...generateToken(), key }),
      await t.plant({ endsIn: -1 }),
      'gt-',
      '\0',
      'eyJhbGciOiJIUzI1NiJ9.e30.x',
    ]
    for (const token of tokens) expect([(await revoke(token)).status, token]).toEqual([200, token])
  })

  it('does not revoke by a token key and a wrong secret', async () => {
    const session = await t.h.session()
    await revoke(formatToken({ ...generateToken(), key: keyOf(session) }))
    expect(await isAccepted(session)).toBe(true)
  })

  it('revokes a token that may not act, and one that only the token store has', async () => {
    for (const facts of [{ type: 'oidc' }, { isInDatabase: false }] as const) {
      const token = await t.plant({ ...facts, username: 'rook' })
      expect((await revoke(token)).status).toBe(200)
      expect(await t.tokens.find(keyOf(token))).toBeUndefined()
      const events = await t.h.sql('SELECT action, actor FROM token_change_history WHERE token = $1', [
        keyOf(token),
      ])
      expect(events).toEqual([{ action: 'revoke', actor: 'rook' }])
    }
  })

  it('refuses the bootstrap token, which is in no store, with unsupported_token_type', async () => {
    const { status, json } = await revoke(t.h.bootstrapToken)
    expect([status, json.error]).toEqual([400, 'unsupported_token_type'])
    expect((await t.h.ask('{ scopes { name } }', { token: t.h.bootstrapToken })).errors).toEqual([])
  })

  it('ignores hints and credentials, since possession is enough', async () => {
    const session = await t.h.session()
    const fields = { token: session, token_type_hint: 'refresh_token', client_id: 'x', client_secret: 'y' }
    expect((await postForm(t.h, '/oauth/revoke', fields, bearer('gt-wrong'))).status).toBe(200)
    expect(await isAccepted(session)).toBe(false)
  })

  it('counts tokens that are not valid as failed authentications of their address', async () => {
    await t.h.restart({ AUTH_FAILURES_PER_MINUTE: '3' })
    const session = await t.h.session()
    const guess = () => revoke(formatToken(generateToken()))
    for (let time = 0; time < 3; time += 1) expect((await guess()).status).toBe(200)
    const { status, headers, json } = await guess()
    expect([status, json.error]).toEqual([429, 'temporarily_unavailable'])
    expect(Number(headers['retry-after'])).toBeGreaterThan(0)
    expect((await revoke(session)).status).toBe(200)
    expect(await t.tokens.find(keyOf(session))).toBeUndefined()
  })
})
