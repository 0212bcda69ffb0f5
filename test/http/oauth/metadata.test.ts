import { describe, expect, it } from 'vitest'
import { issuerOf } from '../../../src/http/oauth/issuer.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { send } from '../../support/requests/http.ts'

const WELL_KNOWN = '/.well-known/oauth-authorization-server'
const PUBLIC_URL = 'https://tokens.example.org/porthor'

describe('GET /.well-known/oauth-authorization-server', () => {
  const t = usePorthor('postgres')
  const get = async (path = WELL_KNOWN, headers = {}) => {
    const answer = await send(new URL(path, t.h.url).href, { headers })
    return { ...answer, json: answer.status === 200 ? JSON.parse(answer.body) : {} }
  }

  it('describes the endpoints below PUBLIC_URL, which is the issuer', async () => {
    await t.h.restart({ PUBLIC_URL: `${PUBLIC_URL}/` })
    const { status, headers, json } = await get()
    expect([status, headers['cache-control']]).toEqual([200, 'no-store'])
    expect(headers['content-type']).toMatch(/^application\/json/)
    expect(json).toEqual({
      issuer: PUBLIC_URL,
      token_endpoint: `${PUBLIC_URL}/oauth/token`,
      introspection_endpoint: `${PUBLIC_URL}/oauth/introspect`,
      revocation_endpoint: `${PUBLIC_URL}/oauth/revoke`,
      grant_types_supported: ['urn:ietf:params:oauth:grant-type:token-exchange'],
      response_types_supported: [],
      scopes_supported: [...t.h.context.config.knownScopes.keys()].sort(),
      token_endpoint_auth_methods_supported: ['none', 'client_secret_basic'],
      introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'Bearer'],
      revocation_endpoint_auth_methods_supported: ['none'],
    })
    // RFC 8414 3.1: clients insert the path between the host and the path of the issuer.
    expect((await get(`${WELL_KNOWN}/porthor`)).json).toEqual(json)
    expect((await get(`${WELL_KNOWN}/other`)).status).toBe(404)
  })

  it('has where it listens as issuer in development, whatever the client sends', async () => {
    await t.h.restart()
    const { origin } = new URL(t.h.url)
    const forged = { Host: 'evil.example', 'X-Forwarded-Host': 'evil.example', 'X-Forwarded-Proto': 'https' }
    expect((await get(WELL_KNOWN, forged)).json).toMatchObject({
      issuer: origin,
      token_endpoint: `${origin}/oauth/token`,
    })
  })

  it('does not exist in production without PUBLIC_URL', async () => {
    await t.h.restart({ NODE_ENV: 'production' })
    expect((await get()).status).toBe(404)
    await t.h.restart({ NODE_ENV: 'production', PUBLIC_URL })
    expect((await get()).json.issuer).toBe(PUBLIC_URL)
  })
})

describe('the issuer', () => {
  const development = { publicUrl: undefined, isProduction: false }
  const at = (localAddress: string | undefined) =>
    ({ socket: { localAddress, localPort: 4_000 } }) as unknown as Parameters<typeof issuerOf>[1]

  it('without PUBLIC_URL has the address at which the connection arrived, in the form of a URL', () => {
    expect(issuerOf(development, at('::1'))).toBe('http://[::1]:4000')
    expect(issuerOf(development, at('::ffff:192.0.2.1'))).toBe('http://192.0.2.1:4000')
    expect(issuerOf(development, at('fe80::1%eth0'))).toBe('http://[fe80::1]:4000')
    expect(issuerOf(development, at(undefined))).toBeUndefined()
    expect(issuerOf({ ...development, isProduction: true }, at('::1'))).toBeUndefined()
  })
})
