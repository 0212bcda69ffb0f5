import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { parseToken } from '../../../src/domain/token.ts'
import {
  GATEWAYS,
  type Gateway,
  type GatewayName,
  startGateway,
} from '../../support/gateways/gateway-process.ts'
import {
  openProtectedService,
  type ProtectedService,
  type ReceivedRequest,
  valuesOfReceived,
} from '../../support/gateways/protected-service.ts'
import { type PorthorInTest, usePorthor } from '../../support/porthor/use-porthor.ts'
import { PROJECT } from '../../support/processes/program.ts'
import { type HttpAnswer, send } from '../../support/requests/http.ts'
import { AUTH_ENV, basic, rowOf } from './policies.ts'

/** Spellings of identity headers, and values with which a client would like to be somebody else. */
const CLAIMED: readonly string[] = [
  'User',
  'Email',
  'Uid',
  'Groups',
  'Scopes',
  'Service',
  'Token',
  'Policy',
].flatMap((name) => [
  `X-Auth-Request-${name}`,
  `x-auth-request-${name.toLowerCase()}`,
  `X_Auth_Request_${name}`,
  `X.Auth.Request.${name}`,
  `X-Auth_Request-${name}`,
  `X-Auth-Request_${name}`,
  `X-Auth-Request.${name}`,
  `X-Auth.Request-${name}`,
  `X_AUTH-REQUEST-${name.toUpperCase()}`,
])

/** Names as a service sees them that reads `_` and `.` as `-`. */
const asServicesRead = (name: string): string => name.toLowerCase().replace(/[._]/g, '-')

const identityIn = ({ rawHeaders }: ReceivedRequest): string[] =>
  rawHeaders.filter((name, index) => index % 2 === 0 && asServicesRead(name).startsWith('x-auth-request'))

/** A gateway before a service, asking the Porthor of the tests. */
function useGateway(name: GatewayName, api: PorthorInTest) {
  let gateway: Gateway | undefined
  let service: ProtectedService | undefined
  const open = async () => {
    service ??= await openProtectedService()
    const port = Number(new URL(api.h.authUrl).port)
    gateway = await startGateway(name, { porthor: [port, port], service: service.port })
  }
  beforeAll(open)
  afterEach(() => service?.received.splice(0))
  afterAll(async () => {
    await gateway?.stop()
    await service?.close()
  })
  return {
    /** Starts it again: Porthor has another port. */
    reopen: async () => {
      await gateway?.stop()
      await open()
    },
    ask: (
      headers: Record<string, string> = {},
      method = 'GET',
      body: readonly string[] = [],
      path = '/a?b=c',
    ): Promise<HttpAnswer> => send(`${gateway?.url}${path}`, { method, headers }, body),
    get received() {
      return service?.received ?? []
    },
    /** The only request that the service has received. */
    get only(): ReceivedRequest {
      const [first, ...others] = service?.received ?? []
      if (!first || others.length > 0)
        throw new Error(`the service received ${others.length} more requests than 1`)
      return first
    },
  }
}

describe.each(GATEWAYS)('behind %s', (name) => {
  const api = usePorthor('redis', AUTH_ENV)
  const gate = useGateway(name, api)

  it('a service receives a token of its own in place of that of the user, and who the user is', async () => {
    const bearer = await api.h.session()
    const { status, body } = await gate.ask({ Authorization: `Bearer ${bearer}` })
    expect({ status, body }).toEqual({ status: 200, body: 'served' })
    const { only } = gate
    const [authorization = ''] = valuesOfReceived(only, 'authorization')
    const token = authorization.slice('Bearer '.length)
    expect(valuesOfReceived(only, 'x-auth-request-token')).toEqual([token])
    expect(await rowOf(api.h, parseToken(token).key)).toMatchObject({
      service: 'tap',
      parent: parseToken(bearer).key,
    })
    expect(valuesOfReceived(only, 'x-auth-request-user')).toEqual(['wren'])
    expect(only.url).toBe('/a?b=c')
    expect(JSON.stringify(only)).not.toContain(bearer)
  })

  it.each([
    ['Basic', (bearer: string) => ({ Authorization: basic(bearer, 'x-oauth-basic') })],
    ['the cookie', (bearer: string) => ({ Cookie: `a=1; session=${bearer}; b=2; session=${bearer}` })],
    [
      'a cookie beside Authorization',
      (bearer: string) => ({ Authorization: `Bearer ${bearer}`, Cookie: `a=1; session=${bearer}; b=2` }),
    ],
  ])('no service receives the token of the user that came in %s', async (_what, headersOf) => {
    const bearer = await api.h.session()
    expect((await gate.ask(headersOf(bearer))).status).toBe(200)
    const sent = JSON.stringify(gate.only)
    expect(sent).not.toContain(bearer)
    expect(sent).not.toContain(Buffer.from(bearer).toString('base64').slice(0, 40))
    expect(valuesOfReceived(gate.only, 'authorization')).toEqual([expect.stringMatching(/^Bearer gt-/)])
    if ('Cookie' in headersOf(bearer)) expect(valuesOfReceived(gate.only, 'cookie')).toEqual(['a=1; b=2'])
  })

  it('a client cannot state who it is, however it spells the headers', async () => {
    const bearer = await api.h.session()
    const claims = Object.fromEntries(CLAIMED.map((header) => [header, 'ada']))
    expect((await gate.ask({ ...claims, Authorization: `Bearer ${bearer}` })).status).toBe(200)
    const { only } = gate
    expect(only.rawHeaders).not.toContain('ada')
    expect(valuesOfReceived(only, 'x-auth-request-user')).toEqual(['wren'])
    for (const header of identityIn(only)) expect(header).toMatch(/^x-auth-request-[a-z]+$/)
  })

  it('a client can add nothing to the token and the cookies, also under the names that the recipe copies to', async () => {
    const bearer = await api.h.session()
    const headers = {
      'X-Porthor-Authorization': 'Bearer forged',
      'X-Porthor-Cookie': 'a=forged',
      Cookie: `session=${bearer}`,
    }
    expect((await gate.ask(headers)).status).toBe(200)
    const { only } = gate
    expect(valuesOfReceived(only, 'authorization')).toEqual([expect.stringMatching(/^Bearer gt-/)])
    expect(valuesOfReceived(only, 'cookie')).toEqual([])
    const sent = JSON.stringify(only)
    expect(sent).not.toContain(bearer)
    if (name === 'caddy') expect(sent).not.toMatch(/forged|x-porthor/)
  })

  it('only who has a valid token with the required scopes gets through', async () => {
    const { h, clock } = api
    const bearer = await h.session()
    const statuses = async (headers: Record<string, string>) => (await gate.ask(headers)).status
    const missing = await gate.ask()
    expect(missing.status).toBe(401)
    expect(missing.headers['www-authenticate']).toBe('Bearer realm="porthor"')
    expect(await statuses({ Authorization: 'Bearer gt-x' })).toBe(401)
    expect(await statuses({ Authorization: `Bearer ${await h.session('wren', [])}` })).toBe(403)
    const short = await api.plant({ scopes: ['read:all'], endsIn: 600 })
    expect(await statuses({ Authorization: `Bearer ${short}` })).toBe(200)
    clock.advance(600)
    expect(await statuses({ Authorization: `Bearer ${short}` })).toBe(401)
    expect(await statuses({ Authorization: `Bearer ${bearer}` })).toBe(200)
    await h.ask(`mutation { revokeToken(key: "${parseToken(bearer).key}") { keys } }`, { token: bearer })
    expect(await statuses({ Authorization: `Bearer ${bearer}` })).toBe(401)
    expect(gate.received).toHaveLength(2)
  })

  it('every method and body reaches the service as it was sent, and decides nothing', async () => {
    const bearer = await api.h.session()
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const headers = { Authorization: `Bearer ${bearer}`, 'Content-Length': '10' }
      expect((await gate.ask(headers, method, ['0123456789'])).status).toBe(200)
      expect((await gate.ask({ 'Content-Length': '10' }, method, ['0123456789'])).status).toBe(401)
    }
    expect(gate.received.map(({ method, body }) => `${method} ${body}`)).toEqual(
      ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'].map((method) => `${method} 0123456789`),
    )
  })

  it('many groups and cookies fit', async () => {
    const groups = Array.from({ length: 700 }, (_, id) => ({ name: `group-of-users-${id}`, id: id + 1 }))
    const userInfo = { name: null, email: null, uid: null, gid: null, groups }
    const bearer = await api.plant({ scopes: ['read:all'], userInfo })
    const cookie = `long=${'x'.repeat(5_000)}`
    const { status } = await gate.ask({ Authorization: `Bearer ${bearer}`, Cookie: cookie })
    expect(status).toBe(200)
    expect(valuesOfReceived(gate.only, 'cookie')).toEqual([cookie])
    expect(valuesOfReceived(gate.only, 'x-auth-request-groups')[0]?.split(',')).toHaveLength(700)
  })

  it('a store that is unavailable is 503, and never a refusal or an error of the service', async () => {
    const bearer = await api.h.session()
    await api.h.restart({ REDIS_URL: 'redis://127.0.0.1:1/0' })
    onTestFinished(async () => {
      await api.h.restart()
      await gate.reopen()
    })
    await gate.reopen()
    const { status, headers } = await gate.ask({ Authorization: `Bearer ${bearer}` })
    expect(status).toBe(503)
    expect(headers['retry-after']).toBe('1')
    expect(gate.received).toEqual([])
  })
})

const readRecipe = (name: string) => readFile(join(PROJECT, 'examples/gateways', name), 'utf8')

describe('the recipes of gateways that the tests do not run', () => {
  const odd = CLAIMED.filter((header) => /[._]/.test(header)).map((header) => header.toLowerCase())

  it('Traefik drops each spelling of identity headers', async () => {
    const dropped = [...(await readRecipe('traefik.yaml')).matchAll(/^ +(\S+): ""$/gm)].map(
      ([, header = '']) => header.toLowerCase(),
    )
    expect(dropped).toEqual(expect.arrayContaining(odd))
  })

  it.each(['envoy.yaml', 'istio.yaml'])('%s drops each spelling of identity headers', async (file) => {
    const recipe = await readRecipe(file)
    expect(recipe).toContain('headers_with_underscores_action: DROP_HEADER')
    // A pattern of Lua that means the same in JavaScript.
    const pattern = new RegExp(/string\.find\(name, "(.*)"\)/.exec(recipe)?.[1] ?? '(?!)')
    for (const header of CLAIMED) expect(header.toLowerCase()).toMatch(pattern)
  })
})

it('Caddy copies only to names that it has deleted before, as some versions do not overwrite with an empty value', async () => {
  const [before = '', after = ''] = (await readRecipe('Caddyfile')).split('forward_auth ')
  const targets =
    /copy_headers (.*)/
      .exec(after)?.[1]
      ?.split(' ')
      .map((name) => name.replace(/.*>/, '')) ?? []
  expect(targets.length).toBeGreaterThan(0)
  const deleted = [...before.matchAll(/request_header -(\S+)\*/g)].map(([, prefix = '']) => prefix)
  for (const target of targets)
    expect(
      deleted.some((prefix) => target.startsWith(prefix)),
      target,
    ).toBe(true)
})
