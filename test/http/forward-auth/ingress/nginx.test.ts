import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { formatToken, generateToken, NO_USER_INFO, parseToken } from '../../../../src/domain/token.ts'
import { type Gateway, startGateway } from '../../../support/gateways/gateway-process.ts'
import {
  openProtectedService,
  type ProtectedService,
  type ReceivedRequest,
  valuesOfReceived,
} from '../../../support/gateways/protected-service.ts'
import { usePorthor } from '../../../support/porthor/use-porthor.ts'
import { type HttpAnswer, send } from '../../../support/requests/http.ts'
import { basic, stateCookie } from '../../../support/requests/ingress.ts'
import { findFreePort } from '../../../support/stores/redis.ts'

const t = usePorthor('redis', {
  AUTH_PORT: '0',
  INGRESS_AUTH: 'true',
  PUBLIC_URL: 'https://data.example.org',
})

let service: ProtectedService
let nginx: Gateway
let session: string

/** Starts NGINX with the recipe of the guide, in front of the Porthor at `authUrl`. */
function protect(authUrl: string): Promise<Gateway> {
  const port = Number(new URL(authUrl).port)
  return startGateway('gafaelfawr-ingress', { porthor: [port, port], service: service.port })
}

beforeAll(async () => {
  service = await openProtectedService()
  nginx = await protect(t.h.authUrl)
  session = await t.h.session('wren', ['read:all', 'exec:notebook', 'user:token'])
})
afterAll(async () => {
  await nginx.stop()
  await service.close()
})

/** What has reached the service, and nothing else. */
const reached = (): ReceivedRequest => {
  expect(service.received).toHaveLength(1)
  return service.received[0] ?? expect.fail('nothing reached the service')
}
const fieldOf = (name: string) => valuesOfReceived(reached(), name).join()

/** Asks for the protected service. */
async function ask(headers: Record<string, string | string[]> = {}, options = {}): Promise<HttpAnswer> {
  service.received.splice(0)
  return send(`${nginx.url}/tap/async?phase=RUN`, { headers, ...options })
}

const bearer = (token: string) => ({ Authorization: `Bearer ${token}` })

describe('behind NGINX with an ingress of Gafaelfawr', () => {
  it('a request with a valid token reaches the service with a delegated token, and without the user’s', async () => {
    for (const headers of [
      bearer(session),
      { Authorization: basic(session, 'x-oauth-basic') },
      { Cookie: `a=1; ${stateCookie(t.h, session)}` },
      { Cookie: stateCookie(t.h, session), Authorization: `token ${session}` },
    ]) {
      expect(await ask(headers)).toMatchObject({ status: 200, body: 'served' })
      expect(reached().url).toBe('/tap/async?phase=RUN')
      const token = fieldOf('x-auth-request-token')
      expect(await t.h.stored(token)).toMatchObject({
        type: 'internal',
        service: 'tap',
        scopes: ['read:all'],
      })
      expect(fieldOf('x-auth-request-user')).toBe('wren')
      expect(JSON.stringify(reached())).not.toContain(parseToken(session).secret)
      expect(fieldOf('cookie')).toBe(Object.values(headers).join().startsWith('a=1') ? 'a=1' : '')
    }
  })

  it('other credentials and cookies of the user reach the service', async () => {
    await ask({ Cookie: `${stateCookie(t.h, session)}; a=1`, Authorization: 'Basic dXNlcjpwYXNz' })
    expect([fieldOf('authorization'), fieldOf('cookie')]).toEqual(['Basic dXNlcjpwYXNz', 'a=1'])
  })

  it('identity headers of the client do not reach the service, in no spelling', async () => {
    const token = await t.plant({ username: 'ada', scopes: ['read:all'], userInfo: NO_USER_INFO })
    await ask({
      ...bearer(token),
      'X-Auth-Request-User': 'root',
      'X-AUTH-REQUEST-EMAIL': 'root@example.org',
      'X-Auth-Request-Service': 'portal',
      'X-Auth-Request-Token': session,
      X_Auth_Request_User: 'root',
      'X.Auth.Request.User': 'root',
    })
    expect(fieldOf('x-auth-request-user')).toBe('ada')
    expect(JSON.stringify(reached())).not.toMatch(/root|portal/)
    expect(JSON.stringify(reached())).not.toContain(parseToken(session).secret)
  })

  it('a request without a valid token gets 401 with the challenge, and does not reach the service', async () => {
    const challenge = 'Bearer realm="data.example.org"'
    for (const [headers, expected] of [
      [{}, challenge],
      [{ Cookie: stateCookie(t.h, formatToken(generateToken())) }, challenge],
      [
        bearer(formatToken(generateToken())),
        `${challenge}, error="invalid_token", error_description="Token is not valid"`,
      ],
    ] as const) {
      const { status, headers: sent } = await ask(headers)
      expect([status, sent['www-authenticate'], service.received]).toEqual([401, expected, []])
    }
  })

  it('a revoked token gets 401 from its revocation on', async () => {
    const token = await t.h.session('rook', ['read:all', 'user:token'])
    expect((await ask(bearer(token))).status).toBe(200)
    await t.h.ask(`mutation { revokeToken(key: "${parseToken(token).key}") { keys } }`, { token })
    expect((await ask(bearer(token))).status).toBe(401)
  })

  it('a token without the scope gets 403 with the challenge and the body of X-Error-Body', async () => {
    const { status, headers, body } = await ask(bearer(await t.plant({ scopes: ['user:token'] })))
    expect(status).toBe(403)
    expect(headers['www-authenticate']).toContain('error="insufficient_scope"')
    expect(headers['cache-control']).toBe('no-cache, no-store')
    expect(JSON.parse(body)).toEqual({
      detail: [{ msg: 'Token missing required scope', type: 'insufficient_scope' }],
    })
    expect(service.received).toEqual([])
  })

  it('an Authorization field that cannot be read gets 400, and OPTIONS 404, as X-Error-Status says', async () => {
    const malformed = await ask({ Authorization: 'Digest x' })
    expect([malformed.status, JSON.parse(malformed.body)]).toMatchObject([
      400,
      { detail: [{ type: 'invalid_request' }] },
    ])
    const preflight = await ask({ Origin: 'https://evil.example' }, { method: 'OPTIONS' })
    expect([preflight.status, service.received]).toEqual([404, []])
  })

  it('POST and HEAD reach the service, and their bodies do not reach Porthor', async () => {
    const headers = { ...bearer(session), 'Content-Type': 'text/plain' }
    expect((await send(`${nginx.url}/tap`, { method: 'POST', headers }, ['x'.repeat(10_000)])).status).toBe(
      200,
    )
    expect((await ask(headers, { method: 'HEAD' })).status).toBe(200)
  })

  it.each([
    ['for Porthor', 4, 431],
    ['for NGINX', 6, 400],
  ])(
    'header fields that are too large %s are an error of the client, not 503',
    async (_who, fields, expected) => {
      const large = Object.fromEntries(
        Array.from({ length: fields }, (_, index) => [`x-${index}`, 'x'.repeat(16_370)]),
      )
      // NGINX keeps each large field in a buffer of 16 KiB: the others come first.
      const { status, headers } = await ask({
        Host: 'data.example.org',
        Connection: 'close',
        ...bearer(session),
        ...large,
      })
      expect([status, headers['retry-after'], service.received]).toEqual([expected, undefined, []])
    },
  )

  it('a cookie and a credential of 15 KB each reach the service', async () => {
    const cookie = `long=${'x'.repeat(15_000)}`
    const authorization = basic('user', 'p'.repeat(11_000))
    const headers = { Cookie: `${cookie}; ${stateCookie(t.h, session)}`, Authorization: authorization }
    expect((await ask(headers)).status).toBe(200)
    expect([fieldOf('cookie'), fieldOf('authorization')]).toEqual([cookie, authorization])
  })

  it.each([
    [
      'a store is unavailable',
      async () => {
        await t.h.restart({ REDIS_URL: 'redis://127.0.0.1:1/0' })
        onTestFinished(() => t.h.restart())
        return t.h.authUrl
      },
    ],
    ['Porthor cannot be reached', async () => `http://127.0.0.1:${await findFreePort()}`],
  ])('while %s, a request gets 503 and may be repeated', async (_what, open) => {
    const gateway = await protect(await open())
    onTestFinished(gateway.stop)
    const { status, headers } = await send(`${gateway.url}/tap`, { headers: bearer(session) })
    expect([status, headers['retry-after']]).toEqual([503, '1'])
  })
})
