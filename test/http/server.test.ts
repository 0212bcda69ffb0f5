import { once } from 'node:events'
import { Agent } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { promisify } from 'node:util'
import { serverAudits } from 'graphql-http'
import pg from 'pg'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { closeServer, createServer } from '../../src/http/server.ts'
import { openPorthor } from '../support/porthor/porthor.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { send } from '../support/requests/http.ts'
import { openRaw, statusesIn } from '../support/requests/raw-http.ts'
import { waitForLocks } from '../support/stores/locks.ts'

const JSON_BODY = { 'Content-Type': 'application/json' }
const TYPENAME = JSON.stringify({ query: '{ __typename }' })
const SESSION = 'mutation { createSessionToken(input: { username: "wren" }) { info { key } } }'
const NOTEBOOK = 'mutation { notebookToken { token } }'

const GRAPHQL_RESPONSE = 'application/graphql-response+json'

describe('GraphQL over HTTP', () => {
  const api = usePorthor('postgres')
  const post = (body: string, headers: Record<string, string> = JSON_BODY) =>
    send(api.h.url, { method: 'POST', headers }, [body])

  it.each(serverAudits({ url: () => api.h.url }).map((audit) => ({ ...audit })))(
    'audit $id: $name',
    async ({ fn }) => {
      expect(await fn()).toMatchObject({ status: 'ok' })
    },
  )

  it('a query may come by GET', async () => {
    const url = `${api.h.url}?query=${encodeURIComponent('{ viewer { user { username } } }')}`
    const headers = { Authorization: `Bearer ${await api.h.session()}` }
    const { status, body } = await send(url, { headers })
    expect([status, JSON.parse(body)]).toEqual([200, { data: { viewer: { user: { username: 'wren' } } } }])
  })

  it('a mutation by GET is refused', async () => {
    const count = () => api.h.sql('SELECT count(*) FROM token')
    const before = await count()
    const url = `${api.h.url}?query=${encodeURIComponent(SESSION)}`
    for (const Accept of ['*/*', 'application/json', GRAPHQL_RESPONSE, 'text/html']) {
      const headers = { Authorization: `Bearer ${api.h.bootstrapToken}`, Accept }
      const { status, body } = await send(url, { headers })
      // A browser gets GraphiQL, which shows the mutation and does not run it.
      expect(status).toBe(Accept === 'text/html' ? 200 : 405)
      expect(body).not.toContain('"createSessionToken":')
    }
    expect(await count()).toEqual(before)
  })

  it.each(['PUT', 'DELETE', 'PATCH', 'OPTIONS'])('the method %s is refused', async (method) => {
    // Node's client says by itself how long a body is for POST and PUT only.
    const told = { ...JSON_BODY, 'Content-Length': String(TYPENAME.length) }
    const { status, headers, body } = await send(api.h.url, { method, headers: told }, [TYPENAME])
    expect([status, headers.allow]).toEqual([405, 'GET, POST'])
    expect(body).toContain('GraphQL only supports GET and POST requests.')
  })

  it.each(['[', 'a b', 'a:99999', '@', '?#', ''])('an invalid Host header, %j, is ignored', async (host) => {
    const headers = { Authorization: `Bearer ${await api.h.session()}`, Host: host }
    const query = encodeURIComponent('{ viewer { user { username } } }')
    const byGet = await send(`${api.h.url}?query=${query}`, { headers })
    expect([byGet.status, JSON.parse(byGet.body)]).toEqual([
      200,
      { data: { viewer: { user: { username: 'wren' } } } },
    ])
    expect((await send(api.h.url, { headers: { ...headers, Accept: 'text/html' } })).body).toContain(
      'graphiql',
    )
    expect((await send(api.h.url, { method: 'PUT', headers })).status).toBe(405)
  })

  it.each([
    'constructor',
    '__proto__',
    'text/plain',
    'application/xml, image/*;q=0.5',
    'application/json;charset=iso-8859-1',
  ])('a mutation whose response would not be accepted is not executed: %s', async (Accept) => {
    const count = () => api.h.sql('SELECT count(*) FROM token')
    const before = await count()
    const headers = { ...JSON_BODY, Accept, Authorization: `Bearer ${api.h.bootstrapToken}` }
    const { status, body } = await post(JSON.stringify({ query: SESSION }), headers)
    expect([status, body]).toEqual([406, expect.stringContaining('Accept must allow application/json')])
    expect(await count()).toEqual(before)
  })

  it.each([
    ['*/*', '{"data":{"__typename":"Query"}}'],
    ['text/html, application/*;q=0.9', '{"data":{"__typename":"Query"}}'],
    ['application/json; charset=UTF-8', '{"data":{"__typename":"Query"}}'],
    ['text/event-stream', 'data: {"data":{"__typename":"Query"}}'],
    ['multipart/mixed', '{"data":{"__typename":"Query"}}'],
  ])('a response has the type %s', async (Accept, answer) => {
    const { status, body } = await post(TYPENAME, { ...JSON_BODY, Accept })
    expect([status, body]).toEqual([200, expect.stringContaining(answer)])
  })

  it.each<[string, Record<string, string>]>([
    ['in UTF-8', { 'Content-Type': 'application/json;charset="UTF-8"' }],
    ['in utf8', { 'Content-Type': 'application/json; charset=utf8' }],
    ['with more to say of it', { 'Content-Type': 'application/json; charset=utf-8; profile=x' }],
    ['expressly not compressed', { ...JSON_BODY, 'Content-Encoding': 'identity' }],
  ])('a body %s is read', async (_what, headers) => {
    const { status, body } = await post(TYPENAME, headers)
    expect([status, body]).toEqual([200, '{"data":{"__typename":"Query"}}'])
  })

  it.each<[string, Record<string, string>]>([
    ['a body came with it', { ...JSON_BODY, 'Content-Length': '2' }],
    ['it says that its body were a form', { 'Content-Type': 'application/x-www-form-urlencoded' }],
    ['it says that its body were compressed', { 'Content-Encoding': 'gzip' }],
  ])('a query by GET is answered though %s', async (_what, headers) => {
    const url = `${api.h.url}?query=${encodeURIComponent('{ __typename }')}`
    const { status, body } = await send(url, { headers }, headers['Content-Length'] ? ['{}'] : [])
    expect([status, body]).toEqual([200, '{"data":{"__typename":"Query"}}'])
  })

  it.each(['variables=xx', 'variables=1', 'variables=%7B', 'extensions=xx'])(
    'a query by GET with %s is refused with 400 and what would be right',
    async (parameter) => {
      const { status, body } = await send(
        `${api.h.url}?query=${encodeURIComponent('{ __typename }')}&${parameter}`,
      )
      expect([status, body]).toEqual([400, expect.stringContaining('must be JSON objects, percent-encoded')])
    },
  )

  it.each([
    ['text', { 'Content-Type': 'text/plain' }],
    ['XML', { 'Content-Type': 'application/xml' }],
    ['of no stated type', {}],
    ['JSON, but called a form, as by curl', { 'Content-Type': 'application/x-www-form-urlencoded' }],
    ['compressed', { ...JSON_BODY, 'Content-Encoding': 'gzip' }],
    ['in UTF-16', { 'Content-Type': 'application/json; charset = utf-16' }],
    ['a form with files', { 'Content-Type': 'multipart/form-data; boundary=x' }],
  ])('a body that is %s is refused with 415 and what would be right', async (_what, headers) => {
    const { status, body } = await post(TYPENAME, headers)
    expect(status).toBe(415)
    expect(JSON.parse(body)).toEqual({
      errors: [{ message: expect.stringContaining('application/json'), extensions: { code: 'BAD_REQUEST' } }],
    })
  })

  it.each([
    ['no JSON', '{"query": "{ __typename }"'],
    ['nothing', ''],
    ['a JSON string', '"{ __typename }"'],
    ['null', 'null'],
    ['a query that is no text', '{"query": 1}'],
    ['variables that are a list', '{"query": "{ __typename }", "variables": []}'],
  ])('a body that is %s is refused with 400', async (_what, body) => {
    for (const Accept of ['application/json', GRAPHQL_RESPONSE]) {
      const answer = await post(body, { ...JSON_BODY, Accept })
      expect(answer.status).toBe(400)
      expect(JSON.parse(answer.body)).toMatchObject({ errors: [{ extensions: { code: 'BAD_REQUEST' } }] })
    }
  })

  it('batches are refused, and none of their operations is executed', async () => {
    const { status, body } = await post(JSON.stringify([{ query: SESSION }, { query: SESSION }]), {
      ...JSON_BODY,
      Authorization: `Bearer ${api.h.bootstrapToken}`,
    })
    expect(status).toBe(400)
    expect(JSON.parse(body)).toEqual({
      errors: [{ message: 'Batching is not supported.', extensions: { code: 'BAD_REQUEST' } }],
    })
  })

  it.each([
    ['application/json', 'application/json; charset=utf-8', 200],
    [GRAPHQL_RESPONSE, `${GRAPHQL_RESPONSE}; charset=utf-8`, 400],
    [`${GRAPHQL_RESPONSE}, application/json;q=0.9`, `${GRAPHQL_RESPONSE}; charset=utf-8`, 400],
    ['application/json, text/plain', 'application/json; charset=utf-8', 200],
    ['*/*', 'application/json; charset=utf-8', 200],
  ])('who accepts %s gets that, and the status of its rules', async (Accept, type, statusOfInvalid) => {
    const token = await api.h.session()
    const ask = async (query: string, bearer?: string) => {
      const { status, headers } = await post(JSON.stringify({ query }), {
        ...JSON_BODY,
        Accept,
        ...(bearer && { Authorization: `Bearer ${bearer}` }),
      })
      return [status, headers['content-type']]
    }
    expect(await ask(NOTEBOOK, token)).toEqual([200, type])
    expect(await ask('{ nope }', token)).toEqual([statusOfInvalid, type])
    expect(await ask('mutation { internalToken(service: "") { key } }', token)).toEqual([200, type])
    expect(await ask(NOTEBOOK)).toEqual([401, type])
    expect(await ask(NOTEBOOK, api.h.bootstrapToken)).toEqual([403, type])
  })

  it('a client that accepts neither type gets 406 with the accepted types', async () => {
    const { status, headers, body } = await post(TYPENAME, { ...JSON_BODY, Accept: 'image/png' })
    expect([status, headers['content-type']]).toEqual([406, 'application/json; charset=utf-8'])
    expect(JSON.parse(body).errors[0].message).toContain('application/graphql-response+json')
  })

  it.each([
    ['announced by its length', (body: string) => ({ 'Content-Length': String(Buffer.byteLength(body)) }), 1],
    ['sent in chunks of no stated length', () => ({ 'Transfer-Encoding': 'chunked' }), 8],
  ])('a body of over 256 KiB, %s, is refused with 413', async (_what, lengthOf, parts) => {
    const ask = async (size: number) => {
      const body = TYPENAME.replace(' __', `${' '.repeat(size - TYPENAME.length + 1)}__`)
      const part = Math.ceil(body.length / parts)
      const chunks = Array.from({ length: parts }, (_, index) => body.slice(index * part, (index + 1) * part))
      return send(api.h.url, { method: 'POST', headers: { ...JSON_BODY, ...lengthOf(body) } }, chunks)
    }
    const atLimit = await ask(256 * 1024)
    expect([atLimit.status, atLimit.body]).toEqual([200, '{"data":{"__typename":"Query"}}'])
    const over = await ask(256 * 1024 + 1)
    expect(over.status).toBe(413)
    expect(JSON.parse(over.body)).toMatchObject({
      errors: [{ extensions: { code: 'REQUEST_ENTITY_TOO_LARGE' } }],
    })
    expect((await ask(4 * 1024 * 1024)).status).toBe(413)
  })

  it.each<[string, { method: string; path?: string; headers?: Record<string, string> }, string]>([
    ['a token', { method: 'POST', headers: JSON_BODY }, JSON.stringify({ query: NOTEBOOK })],
    ['an error', { method: 'POST', headers: JSON_BODY }, JSON.stringify({ query: '{ nope }' })],
    ['no JSON', { method: 'POST', headers: JSON_BODY }, '{'],
    ['a query by GET', { method: 'GET', path: `/graphql?query=${encodeURIComponent('{ __typename }')}` }, ''],
    ['GraphiQL', { method: 'GET', headers: { Accept: 'text/html' } }, ''],
    ['a wrong method', { method: 'PUT' }, ''],
    ['a wrong type of body', { method: 'POST', headers: { 'Content-Type': 'text/plain' } }, 'x'],
    ['a body that is too large', { method: 'POST', headers: JSON_BODY }, 'x'.repeat(300 * 1024)],
  ])('the response to a request with %s is stored by no cache', async (_what, options, body) => {
    const headers = { ...options.headers, Authorization: `Bearer ${await api.h.session()}` }
    const answer = await send(api.h.url, { ...options, headers }, body ? [body] : [])
    expect(answer.headers['cache-control']).toBe('no-store')
  })

  it('a script of another origin can read no response', async () => {
    const { headers } = await post(TYPENAME, { ...JSON_BODY, Origin: 'https://elsewhere.example' })
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([])
  })
})

describe('beside the API', () => {
  const api = usePorthor('postgres')
  const at = (path: string) => send(new URL(path, api.h.url).href)

  it.each([
    ['/livez', 200, 'alive\n'],
    ['/readyz', 200, '{"tokens":"ok","issuing":"ok"}\n'],
    ['/nothing', 404, 'Not found. The API is at /graphql\n'],
    ['/graphql/', 404, 'Not found. The API is at /graphql\n'],
    ['/livez?verbose', 200, 'alive\n'],
  ])('%s answers %i', async (path, status, body) => {
    expect(await at(path)).toMatchObject({ status, body, headers: { 'cache-control': 'no-store' } })
  })

  it('/ leads to the API', async () => {
    expect(await at('/')).toMatchObject({ status: 302, headers: { location: '/graphql' } })
  })
})

describe('the client address', () => {
  const proxied = usePorthor('postgres', { TRUSTED_PROXIES: '127.0.0.1, 10.0.0.0/8' })
  const direct = usePorthor('postgres')

  const recorded = async ({ h }: typeof direct, forwarded: string | undefined) => {
    const answer = await h.ask(SESSION, {
      token: h.bootstrapToken,
      ...(forwarded !== undefined && { headers: { 'X-Forwarded-For': forwarded } }),
    })
    expect(answer.errors).toEqual([])
    const [row] = await h.sql<{ ip: string }>(
      'SELECT host(ip_address) AS ip FROM token_change_history ORDER BY id DESC LIMIT 1',
    )
    const line = h.logLines.findLast(({ msg }) => msg === 'operation')
    expect(line?.ipAddress).toBe(row?.ip)
    return row?.ip
  }

  it.each([
    ['no header', undefined, '127.0.0.1'],
    ['one address', '192.0.2.7', '192.0.2.7'],
    ['an address that the client made up', '198.51.100.9, 192.0.2.7', '192.0.2.7'],
    ['another trusted proxy', '192.0.2.7, 10.1.2.3', '192.0.2.7'],
    ['trusted proxies only', '10.1.1.1, 10.2.2.2', '10.1.1.1'],
    ['IPv6', '2001:db8::7', '2001:db8::7'],
    ['IPv4 in IPv6', '::ffff:192.0.2.9', '192.0.2.9'],
    ['IPv4 in IPv6 in hexadecimal', '::ffff:c000:209', '192.0.2.9'],
    ['an address with a port', '192.0.2.7, 192.0.2.8:4711', '192.0.2.8'],
    ['an IPv6 address with a port', '192.0.2.7, [2001:db8::7]:4711', '2001:db8::7'],
    ['an address that was forged before a word', '192.0.2.7, unknown', '127.0.0.1'],
    ['nothing that is an address', `'; DROP TABLE token; --`, '127.0.0.1'],
    ['an empty header', '', '127.0.0.1'],
  ])('is taken from a trusted proxy: %s', async (_what, forwarded, ip) => {
    expect(await recorded(proxied, forwarded)).toBe(ip)
  })

  it('is taken from nobody else', async () => {
    expect(await recorded(direct, '192.0.2.7')).toBe('127.0.0.1')
  })

  it('with a zone is kept without breaking the request', async () => {
    expect(await recorded(proxied, 'fe80::1%eth0')).toMatch(/^(fe80::1|127\.0\.0\.1)$/)
  })
})

describe('stopping', () => {
  /** A server of its own, and a session being made that waits until it is let go. */
  async function openBusy() {
    const h = await openPorthor({ store: 'postgres' })
    onTestFinished(() => h.close())
    const server = createServer(h.context)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const url = `http://127.0.0.1:${port}/graphql`
    const lock = new pg.Client(h.env.DATABASE_URL)
    await lock.connect()
    onTestFinished(() => lock.end())
    await lock.query('BEGIN; LOCK TABLE token')
    const headers = { ...JSON_BODY, Authorization: `Bearer ${h.bootstrapToken}` }
    return {
      server,
      port,
      url,
      headers,
      waiting: () => waitForLocks(h, 1),
      letGo: () => lock.query('COMMIT'),
    }
  }

  it('accepts no new requests, and first completes those in progress', async () => {
    const { server, url, headers, waiting, letGo } = await openBusy()
    const underWay = send(url, { method: 'POST', headers }, [JSON.stringify({ query: SESSION })])
    await waiting()

    const closed = closeServer(server)
    await expect(fetch(url)).rejects.toThrow()
    await letGo()
    const { status, body } = await underWay
    expect([status, JSON.parse(body)]).toMatchObject([200, { data: { createSessionToken: { info: {} } } }])
    await closed
  })

  it('closes an idle kept connection, and asks a busy one to close', async () => {
    const { server, port, url, headers, waiting, letGo } = await openBusy()
    const cut = vi.spyOn(server, 'closeAllConnections')
    const agent = new Agent({ keepAlive: true })
    onTestFinished(() => agent.destroy())
    const idleSoon = send(url, { method: 'POST', headers, agent }, [JSON.stringify({ query: SESSION })])
    await waiting()
    const busy = connect(port, '127.0.0.1').setEncoding('utf8')
    const heard = busy.toArray()
    const accepted = once(server, 'connection')
    busy.write('GET /livez HTTP/1.1\r\nHost: porthor\r\n')
    await accepted

    const closed = closeServer(server)
    busy.write('\r\n')
    await letGo()
    expect((await idleSoon).headers.connection).toBe('keep-alive')
    expect((await heard).join('')).toMatch(/^HTTP\/1\.1 200 OK\r\n(.+\r\n)*Connection: close\r\n/)
    await closed
    expect(cut).not.toHaveBeenCalled()
  })

  it('responds to every request that arrives on a kept connection meanwhile, and asks it to close', async () => {
    const { server, port } = await openBusy()
    const livez = 'GET /livez HTTP/1.1\r\nHost: porthor\r\n\r\n'
    const kept = await Promise.all(Array.from({ length: 100 }, () => openRaw(`http://127.0.0.1:${port}`)))
    for (const { socket } of kept) socket.write(livez)
    for (const { received } of kept) await expect.poll(() => statusesIn(received())).toEqual([200])

    const closed = closeServer(server)
    for (const { socket } of kept) socket.write(livez)
    for (const { closed: ended } of kept) {
      const text = await ended
      expect(statusesIn(text)).toEqual([200, 200])
      expect(text).toMatch(/Connection: close\r\n/)
    }
    await closed
  })

  it('does not wait for a connection that has sent nothing, but for one that has begun to', async () => {
    const { server, port } = await openBusy()
    const cut = vi.spyOn(server, 'closeAllConnections')
    const [silent, slow] = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1').setEncoding('utf8')]
    const heard = slow.toArray()
    slow.write('GET /livez HTTP/1.1\r\n')
    await expect.poll(() => promisify(server.getConnections.bind(server))()).toBe(2)

    const closed = closeServer(server)
    await once(silent.resume(), 'close')
    slow.write('Host: porthor\r\n\r\n')
    expect((await heard).join('')).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    await closed
    expect(cut).not.toHaveBeenCalled()
  })
})
