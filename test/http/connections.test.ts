import { once } from 'node:events'
import { Agent } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { promisify } from 'node:util'
import pg from 'pg'
import { describe, expect, it, onTestFinished } from 'vitest'
import { closeServer, createServer, type ServerLimits } from '../../src/http/server.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { askGraphQL } from '../support/requests/graphql.ts'
import { send } from '../support/requests/http.ts'
import { openRaw, type RawConnection, sendRaw, statusesIn } from '../support/requests/raw-http.ts'
import { waitForLocks } from '../support/stores/locks.ts'

const LIVEZ = 'GET /livez HTTP/1.1\r\nHost: porthor\r\n\r\n'
/** Long enough on a busy machine; nothing is decided by it. */
const PATIENT = { timeout: 20_000 }

const TYPENAME = '{"query":"{ __typename }"}'

describe('a server on the stores of another', () => {
  const api = usePorthor('postgres')

  const open = async (limits?: Partial<ServerLimits>): Promise<string> => (await openServer(limits)).url

  async function openServer(limits: Partial<ServerLimits> = {}) {
    const server = createServer(api.h.context, limits)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => closeServer(server))
    return {
      server,
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/graphql`,
      countConnections: promisify(server.getConnections.bind(server)),
    }
  }

  async function connectTo(url: string): Promise<RawConnection> {
    const connection = await openRaw(url)
    onTestFinished(() => void connection.socket.destroy())
    return connection
  }

  const livez = async (url: string): Promise<number> => (await send(new URL('/livez', url).href)).status

  const chunked = (pieces: string): string =>
    `POST /graphql HTTP/1.1\r\nHost: porthor\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${pieces}0\r\n\r\n`
  const inChunks = (text: string, size: number): string => {
    let pieces = ''
    for (let at = 0; at < text.length; at += size) {
      const piece = text.slice(at, at + size)
      pieces += `${piece.length.toString(16)}\r\n${piece}\r\n`
    }
    return pieces
  }

  describe('reads a body', () => {
    it.each([1, 2, 7, 1_000])('that arrives in chunks of %i bytes', async (size) => {
      const text = await sendRaw(await open(), chunked(inChunks(TYPENAME, size)))
      expect(text).toContain('{"data":{"__typename":"Query"}}')
    })

    it('of as many chunks as it may have, and refuses one of one more', async () => {
      const url = await open({ maxChunks: 100 })
      const status = async (length: number) =>
        statusesIn(await sendRaw(url, chunked(inChunks(TYPENAME.padEnd(length), 1))))
      expect(await status(100)).toEqual([200])
      expect(await status(101)).toEqual([413])
    })

    it('whose length is wrong, no further than its bytes go', async () => {
      const url = await open()
      const head = 'POST /graphql HTTP/1.1\r\nHost: porthor\r\nContent-Type: application/json\r\n'
      const text = await sendRaw(
        url,
        `${head}Content-Length: ${TYPENAME.length}\r\n\r\n${TYPENAME}${head}Connection: close\r\nContent-Length: ${TYPENAME.length}\r\n\r\n${TYPENAME}`,
      )
      expect(statusesIn(text)).toEqual([200, 200])
    })
  })

  it('refuses bodies for which there is no memory as UNAVAILABLE, and accepts them when others are done', async () => {
    const url = await open({ maxHeldBytes: 20_000 })
    const head = 'POST /graphql HTTP/1.1\r\nHost: porthor\r\nContent-Type: application/json\r\n'
    const slow = await connectTo(url)
    slow.socket.write(`${head}Content-Length: 10000\r\n\r\n${' '.repeat(8_000)}`)
    const large = { method: 'POST', headers: { 'Content-Type': 'application/json' } }
    const ask = () => send(url, large, [TYPENAME, ' '.repeat(5_000), ' '.repeat(5_000)])
    await expect.poll(async () => (await ask()).status).toBe(503)
    const refused = await ask()
    expect(refused.headers['retry-after']).toBe('1')
    expect(JSON.parse(refused.body)).toMatchObject({
      errors: [{ extensions: { code: 'UNAVAILABLE', retryable: true } }],
    })
    expect(await livez(url)).toBe(200)
    slow.socket.destroy()
    await expect.poll(async () => (await ask()).status).toBe(200)
  })

  it('responds to all requests that one connection sends ahead, in order, a few at a time', async () => {
    const connection = await connectTo(await open({ maxRunning: 3 }))
    const count = 500
    const paths = Array.from({ length: count }, (_, index) => (index % 5 === 0 ? '/nothing' : '/livez'))
    connection.socket.write(paths.map((path) => LIVEZ.replace('/livez', path)).join(''))
    await expect.poll(() => statusesIn(connection.received()).length, PATIENT).toBe(count)
    expect(statusesIn(connection.received())).toEqual(paths.map((path) => (path === '/livez' ? 200 : 404)))
    connection.socket.write(LIVEZ)
    await expect.poll(() => statusesIn(connection.received()).length, PATIENT).toBe(count + 1)
  })

  it('responds to others while one connection has sent thousands of requests ahead', async () => {
    const url = await open()
    const greedy = await connectTo(url)
    const post = `POST /graphql HTTP/1.1\r\nHost: porthor\r\nContent-Type: application/json\r\nContent-Length: ${TYPENAME.length}\r\n\r\n${TYPENAME}`
    const count = 5_000
    greedy.socket.write(post.repeat(count))
    const agent = new Agent({ keepAlive: true })
    onTestFinished(() => agent.destroy())
    let answers = 0
    const answered = () => statusesIn(greedy.received()).length
    await expect.poll(answered).toBeGreaterThan(0)
    for (; answered() < count; answers += 1) {
      expect((await send(new URL('/livez', url).href, { agent })).status).toBe(200)
    }
    // One round of requests under way at a time, and a turn for everybody after each.
    expect(answers).toBeGreaterThan(count / 32 / 4)
  })

  it('closes the connection that sends more ahead than may wait in all', async () => {
    const url = await open({ maxWaiting: 50 })
    const greedy = await connectTo(url)
    greedy.socket.write(LIVEZ.repeat(1_000))
    await greedy.closed
    expect(await livez(url)).toBe(200)
  })

  it('closes a connection whose request does not arrive in time: its head, or its body', async () => {
    const url = await open({ headersTimeoutMs: 200, requestTimeoutMs: 400 })
    const half = 'POST /graphql HTTP/1.1\r\nHost: porthor\r\n'
    expect(await sendRaw(url, half)).toMatch(/^HTTP\/1\.1 408 /)
    expect(await sendRaw(url, `${half}Content-Length: 10\r\n\r\n{`)).toMatch(/^HTTP\/1\.1 408 /)
    expect(await sendRaw(url, '')).toMatch(/^(HTTP\/1\.1 408 |$)/)
  })

  it('closes a connection that does not read its response', async () => {
    const { url, countConnections } = await openServer({ stallTimeoutMs: 500 })
    const deaf = await connectTo(url)
    deaf.socket.pause()
    // More than the buffers of both sides take.
    deaf.socket.write('GET /metrics HTTP/1.1\r\nHost: porthor\r\n\r\n'.repeat(5_000))
    await expect.poll(countConnections).toBe(1)
    await expect.poll(countConnections, { timeout: 20_000 }).toBe(0)
    expect(await livez(url)).toBe(200)
  })

  it('closes a connection that reads its response too slowly', async () => {
    const { url, countConnections } = await openServer({ stallTimeoutMs: 1_000, minBytesPerSecond: 2 ** 30 })
    const count = 5_000
    const slow = await connectTo(url)
    slow.socket.pause()
    slow.socket.write('GET /metrics HTTP/1.1\r\nHost: porthor\r\n\r\n'.repeat(count))
    slow.socket.on('data', () => slow.socket.pause())
    // Slower than the server makes responses, also on a machine that does much else.
    const reading = setInterval(() => slow.socket.resume(), 250)
    onTestFinished(() => clearInterval(reading))
    await expect.poll(countConnections).toBe(1)
    await expect.poll(countConnections, { timeout: 20_000 }).toBe(0)
    expect(statusesIn(slow.received()).length).toBeLessThan(count)
    expect(await livez(url)).toBe(200)
  })

  it('closes a connection that sends a byte at a time, when the head or the whole has taken too long', async () => {
    const url = await open({ headersTimeoutMs: 500, requestTimeoutMs: 1_000 })
    const head = 'POST /graphql HTTP/1.1\r\nHost: porthor\r\n'
    for (const [beginning, rest] of [
      [head, 'X-Filler: '.padEnd(10_000, 'x')],
      [`${head}Content-Length: 10000\r\n\r\n`, ' '.repeat(10_000)],
    ] as const) {
      const connection = await connectTo(url)
      connection.socket.write(beginning)
      let sent = 0
      const sending = setInterval(() => connection.socket.write(rest.charAt(sent++)), 10)
      expect(statusesIn(await connection.closed)).toEqual([408])
      clearInterval(sending)
      expect(sent).toBeLessThan(rest.length)
    }
  })

  it('waits for a response that takes longer to make than one may be left unread', async () => {
    const { server, url } = await openServer()
    const lock = new pg.Client(api.h.env.DATABASE_URL)
    await lock.connect()
    onTestFinished(() => lock.end())
    await lock.query('BEGIN; LOCK TABLE token')
    const connected = once(server, 'connection')
    const query = 'mutation { createSessionToken(input: { username: "wren" }) { token } }'
    const answer = askGraphQL(url, query, { token: api.h.bootstrapToken })
    const [socket] = (await connected) as [Socket]
    await waitForLocks(api.h, 1)
    for (let time = 0; time < 2; time += 1) {
      // Has the time pass that a response may be left unread.
      socket.setTimeout(1)
      await once(server, 'timeout')
    }
    await lock.query('COMMIT')
    expect((await answer).errors).toEqual([])
  })

  it('has room for a newcomer where strangers hold all of its connections and do nothing', async () => {
    const url = await open({ maxConnections: 10 })
    const idle: RawConnection[] = []
    for (let index = 0; index < 30; index += 1) idle.push(await connectTo(url))
    idle[29]?.socket.write('GET /livez HTTP/1.1\r\n')
    for (let round = 0; round < 20; round += 1) expect(await livez(url)).toBe(200)
  })
})
