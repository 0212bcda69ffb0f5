import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { afterEach, describe, expect, expectTypeOf, it } from 'vitest'
import {
  createPorthorClient,
  type DelegatedToken,
  type PorthorClient,
  PorthorClientError,
  type TokenInfo,
} from '../../src/client/index.ts'
import { formatToken, generateToken } from '../../src/domain/token.ts'
import { openPorthor } from '../support/porthor/porthor.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { startRedis } from '../support/stores/stores.ts'

describe('the client, against a server', () => {
  const t = usePorthor('postgres', {}, { isFresh: true })
  const admin = () => createPorthorClient({ url: t.h.url, token: t.h.bootstrapToken })
  const user = async () => createPorthorClient({ url: t.h.url, token: await t.h.session() })

  it('gets the same internal token twice', async () => {
    const porthor = await user()
    const first = await porthor.internalToken({ service: 'tap', scopes: ['read:all'] })
    const second = await porthor.internalToken({ service: 'tap', scopes: ['read:all'] })
    expect(first).toMatchObject({ service: 'tap', scopes: ['read:all'], type: 'INTERNAL', source: 'NEW' })
    expect(second).toEqual({ ...first, source: 'CACHE' })
  })

  it('passes on the minimum lifetime', async () => {
    const porthor = await user()
    await expect(porthor.notebookToken({ minimumLifetime: 299 })).rejects.toMatchObject({
      code: 'INVALID_MINIMUM_LIFETIME',
    })
  })

  it('gets a notebook token without any variables', async () => {
    const porthor = await user()
    expect(await porthor.notebookToken()).toMatchObject({ type: 'NOTEBOOK', service: null, source: 'NEW' })
  })

  it('returns the viewer, and the known scopes', async () => {
    const porthor = await user()
    const viewer = await porthor.viewer()
    expect(viewer.user.username).toBe('wren')
    expect(viewer.token).toMatchObject({ type: 'SESSION', username: 'wren' })
    const scopes = await porthor.scopes()
    expect(scopes.map(({ name }) => name)).toContain('admin:token')
  })

  it('creates sessions, service tokens and user tokens', async () => {
    const session = await admin().createSessionToken({
      input: { username: 'dipper', userInfo: { name: 'Dipper', groups: [{ name: 'birds', id: 7 }] } },
    })
    expect(session.info).toMatchObject({ type: 'SESSION', username: 'dipper' })
    const { user: dipper } = await admin().withToken(session.token).viewer()
    expect(dipper).toMatchObject({ name: 'Dipper', groups: [{ name: 'birds', id: 7 }] })

    const service = await admin().createServiceToken({ input: { username: 'bot-tap', scopes: ['read:tap'] } })
    expect(service.info).toMatchObject({ type: 'SERVICE', scopes: ['read:tap'], expiresAt: null })

    const mine = await (await user()).createUserToken({ input: { tokenName: 'laptop' } })
    expect(mine.info).toMatchObject({ type: 'USER', username: 'wren', tokenName: 'laptop' })
  })

  it('empties the token caches', async () => {
    await (await user()).notebookToken()
    expect(await admin().clearTokenCache()).toEqual({ internal: 0, notebook: 1 })
  })

  it('acts with another token, leaving the first client as it was', async () => {
    const wren = await user()
    const dipper = wren.withToken(await t.h.session('dipper'))
    expect((await dipper.viewer()).user.username).toBe('dipper')
    expect((await wren.viewer()).user.username).toBe('wren')
  })

  it('calls the function for the token before every request', async () => {
    const tokens = [await t.h.session('wren'), await t.h.session('dipper')]
    const porthor = createPorthorClient({ url: t.h.url, token: async () => tokens.shift() ?? '' })
    expect((await porthor.viewer()).user.username).toBe('wren')
    expect((await porthor.viewer()).user.username).toBe('dipper')
  })

  it('rejects with what the function that gives the token throws', async () => {
    const failure = new Error('no key ring')
    const porthor = createPorthorClient({ url: t.h.url, token: () => Promise.reject(failure) })
    await expect(porthor.viewer()).rejects.toBe(failure)
  })

  it('throws an error with the code and the status of what Porthor refuses', async () => {
    const porthor = await user()
    const stranger = porthor.withToken(formatToken(generateToken()))
    await expect(stranger.viewer()).rejects.toMatchObject({ code: 'UNAUTHENTICATED', status: 401 })
    await expect(admin().viewer()).rejects.toMatchObject({ code: 'PERMISSION_DENIED', status: 403 })
    const refused = await failureOf(porthor.internalToken({ service: 'not a name' }))
    expect(refused).toMatchObject({ code: 'INVALID_SERVICE', status: 200, retryable: false })
    expect(refused.message).toBe(refused.errors[0]?.message)
    expect(refused.errors[0]?.path).toEqual(['internalToken'])
  })

  it('throws INSUFFICIENT_LIFETIME for a session that expires too soon', async () => {
    const porthor = await user()
    t.h.clock.advance(30 * 24 * 3600 - 299)
    await expect(porthor.notebookToken()).rejects.toMatchObject({
      code: 'INSUFFICIENT_LIFETIME',
      status: 401,
    })
  })
})

it('calls a failure retryable when a store of the server is down', async () => {
  const redis = await startRedis()
  const h = await openPorthor({ store: 'redis', env: { REDIS_URL: redis.url } })
  try {
    const porthor = createPorthorClient({ url: h.url, token: await h.session() })
    await redis.kill()
    await expect(porthor.notebookToken()).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      status: 503,
      retryable: true,
    })
  } finally {
    await h.close()
    await redis.stop()
  }
})

describe('the client, without a Porthor,', () => {
  const servers: { close(): void; closeAllConnections(): void }[] = []
  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.close()
      server.closeAllConnections()
    }
  })

  const token = formatToken(generateToken())

  /** Where an HTTP server answers so. */
  async function serve(answer: RequestListener): Promise<string> {
    const server = createServer(answer).listen(0, '127.0.0.1')
    servers.push(server)
    await once(server, 'listening')
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/graphql`
  }

  const answering = (status: number, body: string, headers = {}) =>
    serve((_request, response) => void response.writeHead(status, headers).end(body))

  const SCOPES = '{"data":{"scopes":[]}}'

  it.each([
    ['a page of a proxy', 502, '<h1>Bad gateway</h1>', true],
    ['a full queue', 429, 'slow down', true],
    ['a missing page', 404, 'not found', false],
    ['a page that is not there any more', 302, '', false],
    ['JSON of another kind', 200, '{"ok":true}', false],
    ['JSON that is no object', 200, 'null', false],
    ['half of an answer', 200, SCOPES.slice(0, -2), false],
    ['data without what was asked for', 200, '{"data":{}}', false],
    ['data of another kind', 200, '{"data":[]}', false],
    ['an error without a code', 400, '{"errors":[{"message":"no"}]}', false],
    ['errors that are none', 500, '{"errors":["no"],"data":null}', true],
  ])('has NETWORK_ERROR and the status for %s', async (_what, status, body, retryable) => {
    const url = await answering(status, body, { Location: '/elsewhere' })
    const failure = await failureOf(createPorthorClient({ url, token }).scopes())
    expect(failure).toMatchObject({ code: 'NETWORK_ERROR', status, retryable })
    const hint = status === 302 || status === 404 ? '; the API is at /graphql' : ''
    expect(failure.message).toBe(`the response from ${url} is not from Porthor: HTTP status ${status}${hint}`)
  })

  it('has the code of a masked or a strange failure', async () => {
    const error = { message: 'Something went wrong.', extensions: { code: 'INTERNAL_SERVER_ERROR' } }
    const url = await answering(500, JSON.stringify({ errors: [error] }))
    const failure = await failureOf(createPorthorClient({ url, token }).scopes())
    expect(failure).toMatchObject({ code: 'INTERNAL_SERVER_ERROR', retryable: false, errors: [error] })
  })

  it('throws NETWORK_ERROR with the reason when nothing listens', async () => {
    const url = await answering(200, '')
    for (const server of servers.splice(0)) server.close()
    const failure = await failureOf(createPorthorClient({ url, token }).scopes())
    expect(failure).toMatchObject({ code: 'NETWORK_ERROR', status: undefined, retryable: true, errors: [] })
    expect(failure.message).toBe(`no response from ${url}: ECONNREFUSED`)
  })

  it('throws NETWORK_ERROR when the connection is lost in the middle of a response', async () => {
    const url = await serve((_request, response) => {
      response.writeHead(200, { 'Content-Length': '1000' }).write('{"data":', () => response.destroy())
    })
    const failure = await failureOf(createPorthorClient({ url, token }).scopes())
    expect(failure).toMatchObject({ code: 'NETWORK_ERROR', status: undefined, retryable: true })
  })

  it.each([
    ['begins', () => undefined],
    ['ends', (response: { write(text: string): void }) => response.write('{"data":')],
  ])('stops waiting for a response that never %s', async (_what, begin) => {
    const url = await serve((_request, response) => void begin(response))
    const failure = await failureOf(createPorthorClient({ url, token, timeoutMs: 50 }).scopes())
    expect(failure).toMatchObject({ code: 'NETWORK_ERROR', retryable: true })
    expect(failure.message).toBe(`no response from ${url}: timed out after 50 ms`)
  })

  it('sends what a GraphQL server needs to know, and the headers it was given beside', async () => {
    let seen: IncomingHttpHeaders = {}
    const url = await serve((request, response) => {
      seen = request.headers
      response.end(SCOPES)
    })
    const headers = { 'X-Request-Id': 'r1', authorization: 'Basic abc', Accept: 'text/html' }
    expect(await createPorthorClient({ url, token, headers }).scopes()).toEqual([])
    expect(seen).toMatchObject({
      'x-request-id': 'r1',
      authorization: `Bearer ${token}`,
      accept: 'application/graphql-response+json, application/json',
      'content-type': 'application/json',
    })
  })

  it('sends requests by the given fetch', async () => {
    const porthor = createPorthorClient({
      url: 'https://porthor.example.org/graphql',
      token,
      fetch: async (url) => Response.json({ data: { scopes: [{ name: String(url), description: '' }] } }),
    })
    expect(await porthor.scopes()).toMatchObject([{ name: 'https://porthor.example.org/graphql' }])
  })

  it.each([
    ['an empty token', ''],
    ['a token with a line break', `${token}\n`],
    ['another kind of token', `ghp_${token.slice(3)}`],
    ['a short secret', token.slice(0, -1)],
  ])('sends %s nowhere', async (_what, malformed) => {
    const porthor = createPorthorClient({
      url: 'http://127.0.0.1',
      token: malformed,
      fetch: () => expect.unreachable(),
    })
    const failure = await failureOf(porthor.viewer())
    expect(failure).toMatchObject({ code: 'UNAUTHENTICATED', status: undefined, retryable: false })
    if (malformed) expect(inspect(failure)).not.toContain(malformed.trim())
  })

  it('never shows the token or a header, whoever failed and however', async () => {
    const headers = { 'X-Api-Key': 'a-secret-of-the-gateway' }
    const ofUser = `gt-${'u'.repeat(22)}.a-secret-of-the-user-0`
    const forUser = { 'X-Porthor-Subject-Token': `Bearer ${ofUser}` }
    const echo = await serve((request, response) => {
      const subject = request.headers['x-porthor-subject-token']
      const extensions = { code: 'INTERNAL_SERVER_ERROR', request: [request.headers.authorization, subject] }
      const message = `cannot serve ${request.headers.authorization} for ${subject}`
      response.end(JSON.stringify({ errors: [{ message, extensions }] }))
    })
    const loud: typeof fetch = async (_url, request) => {
      throw new Error(`cannot send ${inspect(request)}`, { cause: request })
    }
    const clients: PorthorClient[] = [
      createPorthorClient({ url: echo, token, headers: forUser }),
      createPorthorClient({ url: await answering(502, 'Bad gateway'), token, headers }),
      createPorthorClient({ url: 'http://127.0.0.1:9/', token, headers }),
      createPorthorClient({ url: echo, token, headers, fetch: loud }),
    ]
    for (const client of clients) {
      const shown = inspect([client, await failureOf(client.scopes())], { depth: null, showHidden: true })
      expect(shown).not.toContain(token)
      expect(shown).not.toContain(token.split('.')[1])
      expect(shown).not.toContain(headers['X-Api-Key'])
      expect(shown).not.toContain(ofUser.split('.')[1])
    }
  })
})

describe('createPorthorClient', () => {
  const token = formatToken(generateToken())

  it.each([
    ['no URL', { url: 'porthor' }],
    ['another protocol', { url: 'ftp://127.0.0.1/a-secret' }],
    ['a file', { url: 'file:///graphql' }],
    ['a username and password', { url: 'http://wren:a-secret@127.0.0.1/graphql' }],
    [
      'a header that HTTP cannot carry',
      { url: 'http://127.0.0.1', headers: { 'X-Key': 'a-secret\n' + 'x' } },
    ],
    ['no time', { url: 'http://127.0.0.1', timeoutMs: 0 }],
    ['more time than a timer has', { url: 'http://127.0.0.1', timeoutMs: 2 ** 31 }],
  ])('refuses %s, quoting nothing', (_what, options) => {
    const create = () => createPorthorClient({ token, ...options })
    expect(create).toThrow(TypeError)
    expect(create).not.toThrow(/a-secret/)
  })

  it('has a method for each operation, typed by its variables and its result', () => {
    expectTypeOf<PorthorClient['internalToken']>().returns.resolves.toEqualTypeOf<DelegatedToken>()
    expectTypeOf<PorthorClient['createUserToken']>().returns.resolves.toHaveProperty('info')
    expectTypeOf<TokenInfo['expiresAt']>().toEqualTypeOf<string | null>()
    expectTypeOf<DelegatedToken['source']>().toEqualTypeOf<'CACHE' | 'DATABASE' | 'NEW'>()
    // @ts-expect-error an internal token is for a service
    type _ = Parameters<PorthorClient['internalToken']>[0]['nothing']
  })
})

async function failureOf(request: Promise<unknown>): Promise<PorthorClientError> {
  const failure = await request.then(
    () => expect.unreachable('the request should have failed'),
    (error: unknown) => error,
  )
  if (!(failure instanceof PorthorClientError)) throw failure
  return failure
}
