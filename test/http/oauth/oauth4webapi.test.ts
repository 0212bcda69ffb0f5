import * as oauth from 'oauth4webapi'
import { describe, expect, it } from 'vitest'
import { formatToken, generateToken, parseToken } from '../../../src/domain/token.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { ACCESS_TOKEN, NOTEBOOK, serviceToken, TOKEN_EXCHANGE } from '../../support/requests/oauth.ts'

// The only option: the library requires HTTPS, which a proxy in front of Porthor adds.
const OPTIONS = { [oauth.allowInsecureRequests]: true }

describe.each(['redis', 'postgres'] as const)('oauth4webapi, with tokens in %s', (store) => {
  const t = usePorthor(store)
  const discover = async () => {
    const issuer = new URL(new URL(t.h.url).origin)
    const response = await oauth.discoveryRequest(issuer, { ...OPTIONS, algorithm: 'oauth2' })
    return oauth.processDiscoveryResponse(issuer, response)
  }
  const mcp: oauth.Client = { client_id: 'mcp' }
  const exchange = async (
    fields: Record<string, string>,
    client = mcp,
    authentication: oauth.ClientAuth = oauth.None(),
  ) => {
    const as = await discover()
    const parameters = { subject_token_type: ACCESS_TOKEN, ...fields }
    const response = await oauth.genericTokenEndpointRequest(
      as,
      client,
      authentication,
      TOKEN_EXCHANGE,
      parameters,
      OPTIONS,
    )
    return oauth.processGenericTokenEndpointResponse(as, client, response)
  }
  const bot = async () => {
    const secret = await serviceToken(t.h, 'bot-tap', ['introspect:token'])
    return { client: { client_id: 'bot-tap' }, authentication: oauth.ClientSecretBasic(secret) }
  }
  const introspect = async (token: string) => {
    const as = await discover()
    const { client, authentication } = await bot()
    const response = await oauth.introspectionRequest(as, client, authentication, token, OPTIONS)
    return oauth.processIntrospectionResponse(as, client, response)
  }

  it('exchanges the token of a user, checks the issued one, revokes the first and sees both end', async () => {
    const session = await t.h.session('wren', ['read:all'])
    const issued = await exchange({ subject_token: session, audience: 'tap', scope: 'read:all' })
    expect(issued).toMatchObject({ token_type: 'bearer', scope: 'read:all', issued_token_type: ACCESS_TOKEN })
    expect(await introspect(issued.access_token)).toMatchObject({
      active: true,
      username: 'wren',
      aud: 'tap',
      iss: (await discover()).issuer,
      jti: parseToken(issued.access_token).key,
    })

    const as = await discover()
    const response = await oauth.revocationRequest(as, mcp, oauth.None(), session, OPTIONS)
    await oauth.processRevocationResponse(response)
    for (const token of [session, issued.access_token]) {
      expect(await introspect(token)).toEqual({ active: false })
    }
  })

  it('gets a notebook token, and authenticates as a bot whose token it has', async () => {
    const session = await t.h.session('wren', ['read:all'])
    const { client, authentication } = await bot()
    const fields = { subject_token: session, requested_token_type: NOTEBOOK }
    const issued = await exchange(fields, client, authentication)
    expect(issued).toMatchObject({ issued_token_type: NOTEBOOK, scope: 'read:all' })
  })

  it('reads errors and challenges', async () => {
    const session = await t.h.session('wren', [])
    await expect(
      exchange({ subject_token: session, audience: 'tap', scope: 'read:all' }),
    ).rejects.toMatchObject({ code: oauth.RESPONSE_BODY_ERROR, error: 'invalid_scope', status: 400 })
    await expect(exchange({ subject_token: 'x', audience: 'tap' })).rejects.toMatchObject({
      error: 'invalid_request',
    })
    const wrong = oauth.ClientSecretBasic(formatToken(generateToken()))
    await expect(
      exchange({ subject_token: session, audience: 'tap' }, { client_id: 'bot-tap' }, wrong),
    ).rejects.toMatchObject({
      code: oauth.WWW_AUTHENTICATE_CHALLENGE,
      status: 401,
      cause: [{ scheme: 'basic', parameters: { realm: 'porthor' } }],
    })
  })
})
