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

const SERVICES = { tap: ['read:tap', 'read:all'], images: ['read:all'], none: [] }

describe.each(['redis', 'postgres'] as const)('POST /oauth/token by gateways, with tokens in %s', (store) => {
  const t = usePorthor(store, {
    DELEGATION: 'gateway',
    DELEGATION_SERVICES: JSON.stringify(SERVICES),
    DELEGATION_GATEWAYS: JSON.stringify({
      'bot-edge': ['tap', 'images', 'none', 'notebook'],
      'bot-tap': ['tap'],
    }),
    AUTH_FAILURES_PER_MINUTE: '20',
  })
  const gateway = (username = 'bot-edge') => serviceToken(t.h, username, ['delegate:token'])
  const session = () => t.h.session('wren', ['read:all', 'user:token', 'exec:notebook'])
  const exchange = (fields: FormFields | string, headers = {}) =>
    postForm(t.h, '/oauth/token', fields, headers)
  const errorOf = async (fields: FormFields | string, headers = {}) => {
    const { status, json } = await exchange(fields, headers)
    expect(json).not.toHaveProperty('access_token')
    return [status, json.error]
  }
  const notebookOf = (subject: string) => {
    const { audience: _none, ...fields } = exchangeOf(subject, { requested_token_type: NOTEBOOK })
    return fields
  }

  it('issues a token on behalf of the user, by Basic and by Bearer, with the gateway as its actor', async () => {
    const token = await gateway()
    const subject = await session()
    const fields = exchangeOf(subject, { scope: 'read:all' })
    const before = t.h.logLines.length
    const { status, headers, json } = await exchange(fields, basic('bot-edge', token))
    expect([status, headers['porthor-source']]).toEqual([200, 'NEW'])
    const issued = String(json.access_token)
    expect(await t.h.stored(issued)).toMatchObject({ username: 'wren', service: 'tap', scopes: ['read:all'] })
    expect((await exchange(fields, bearer(token))).json.access_token).toBe(issued)

    const { key } = parseToken(issued)
    const events = await t.h.sql(
      'SELECT actor, username, parent FROM token_change_history WHERE token = $1',
      [key],
    )
    expect(events).toEqual([{ actor: 'bot-edge', username: 'wren', parent: parseToken(subject).key }])
    const line = t.h.logLines.slice(before).find(({ msg }) => msg === 'oauth request')
    expect(line).toMatchObject({
      username: 'bot-edge',
      tokenKey: parseToken(token).key,
      subjectUsername: 'wren',
      subjectKey: parseToken(subject).key,
      outcome: 'ok',
    })
  })

  it('without scope has what is listed for the service and the subject holds, and nothing else', async () => {
    const headers = bearer(await gateway())
    const subject = await session()
    for (const [audience, scope] of [
      ['tap', 'read:all'],
      ['images', 'read:all'],
      ['none', ''],
    ] as const) {
      const { json } = await exchange(exchangeOf(subject, { audience }), headers)
      expect([audience, json.scope]).toEqual([audience, scope])
    }
    const { json } = await exchange(notebookOf(subject), headers)
    expect(json).toMatchObject({ issued_token_type: NOTEBOOK, scope: 'exec:notebook read:all user:token' })
  })

  it('refuses scopes that the service may not be given, and services that are not listed', async () => {
    const headers = bearer(await gateway())
    const subject = await session()
    const scopes = { audience: 'images', scope: 'user:token' }
    expect(await errorOf(exchangeOf(subject, scopes), headers)).toEqual([400, 'invalid_scope'])
    expect(await errorOf(exchangeOf(subject, { audience: 'other' }), headers)).toEqual([
      400,
      'invalid_target',
    ])
  })

  it('requires client authentication, and looks at nothing else before', async () => {
    const fields = exchangeOf(await session())
    const invalidClient = [401, 'invalid_client']
    expect(await errorOf(fields)).toEqual(invalidClient)
    expect(await errorOf('not=a&form=%')).toEqual(invalidClient)
    expect(await errorOf(fields, bearer(formatToken(generateToken())))).toEqual(invalidClient)
    expect(await errorOf(fields, basic('bot-tap', await gateway()))).toEqual(invalidClient)
    expect(await errorOf({ ...fields, client_id: 'bot-edge', client_secret: await gateway() })).toEqual(
      invalidClient,
    )
    const url = new URL('/.well-known/oauth-authorization-server', t.h.url)
    const metadata = (await (await fetch(url)).json()) as Record<string, unknown>
    expect(metadata.token_endpoint_auth_methods_supported).toEqual(['client_secret_basic'])
  })

  it('refuses a client that is no gateway, or not for this service, and says nothing about the subject', async () => {
    const subject = await session()
    const unauthorized = [400, 'unauthorized_client']
    const clients = [
      await serviceToken(t.h, 'bot-edge', ['introspect:token']),
      await t.plant({ type: 'session', username: 'bot-edge', scopes: ['delegate:token'] }),
      await t.plant({ type: 'user', username: 'bot-edge', scopes: ['delegate:token'] }),
      await t.h.session('ada', ['admin:token', 'delegate:token']),
      t.h.bootstrapToken,
      subject,
    ]
    for (const client of clients) {
      for (const token of [subject, formatToken(generateToken()), 'gt-']) {
        expect(await errorOf(exchangeOf(token), bearer(client))).toEqual(unauthorized)
      }
    }
    const narrow = bearer(await gateway('bot-tap'))
    expect((await exchange(exchangeOf(subject), narrow)).status).toBe(200)
    expect(await errorOf(exchangeOf(subject, { audience: 'images' }), narrow)).toEqual(unauthorized)
    expect(await errorOf(notebookOf(subject), narrow)).toEqual(unauthorized)
    const unlisted = bearer(await gateway('bot-unlisted'))
    expect(await errorOf(exchangeOf(subject), unlisted)).toEqual(unauthorized)
  })

  it('refuses a subject that is not valid or delegated itself, and does not count it as a failed authentication', async () => {
    const headers = bearer(await gateway())
    const { json } = await exchange(exchangeOf(await session()), headers)
    const bad = [
      String(json.access_token),
      await t.plant({ type: 'oidc' }),
      t.h.bootstrapToken,
      await t.plant({ endsIn: -1 }),
      'gt-',
      '\0',
      ...Array.from({ length: 30 }, () => formatToken(generateToken())),
    ]
    for (const subject of bad) {
      expect([subject, ...(await errorOf(exchangeOf(subject), headers))]).toEqual([
        subject,
        400,
        'invalid_request',
      ])
    }
    const actor = { actor_token: formatToken(generateToken()), actor_token_type: ACCESS_TOKEN }
    for (let time = 0; time < 30; time += 1) {
      expect(await errorOf(exchangeOf(await session(), actor), headers)).toEqual([400, 'invalid_request'])
    }
  })

  it('exchanges a delegated token where chains are allowed, and the chain ends with its first subject', async () => {
    await t.h.restart({ DELEGATION_CHAINS: 'true' })
    const headers = bearer(await gateway())
    const first = await session()
    const second = String((await exchange(exchangeOf(first), headers)).json.access_token)
    const third = String(
      (await exchange(exchangeOf(second, { audience: 'images' }), headers)).json.access_token,
    )
    await postForm(t.h, '/oauth/revoke', { token: first })
    for (const token of [first, second, third]) {
      expect((await t.h.ask('{ scopes { name } }', { token })).status).toBe(401)
      expect(await errorOf(exchangeOf(token), headers)).toEqual([400, 'invalid_request'])
    }
    await t.h.restart()
  })

  it('limits what a token delegates for itself by the same services', async () => {
    await t.h.restart({ DELEGATION: 'self', DELEGATION_GATEWAYS: '' })
    const subject = await session()
    expect((await exchange(exchangeOf(subject))).json.scope).toBe('read:all')
    expect(await errorOf(exchangeOf(subject, { scope: 'user:token' }))).toEqual([400, 'invalid_scope'])
    expect(await errorOf(exchangeOf(subject, { audience: 'other' }))).toEqual([400, 'invalid_target'])
    await t.h.restart()
  })

  it('issues nothing with a revoked gateway, and says that it is the client', async () => {
    const token = await gateway()
    const fields = exchangeOf(await session())
    expect((await exchange(fields, bearer(token))).status).toBe(200)
    await postForm(t.h, '/oauth/revoke', { token })
    const { status, headers, json } = await exchange(fields, bearer(token))
    expect([status, json.error]).toEqual([401, 'invalid_client'])
    expect(headers['www-authenticate']).toBe('Bearer realm="porthor", error="invalid_token"')

    // As if it were revoked after it was authenticated: the creation finds no row of it.
    const facts = { type: 'service', username: 'bot-edge', scopes: ['delegate:token'] } as const
    const stray = await t.plant({ ...facts, isInDatabase: false })
    const late = await exchange(exchangeOf(await session()), basic('bot-edge', stray))
    expect([late.status, late.json.error]).toEqual([401, 'invalid_client'])
    expect(late.headers['www-authenticate']).toBe('Basic realm="porthor", charset="UTF-8"')
  })
})
