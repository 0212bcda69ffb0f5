import { describe, expect, it, vi } from 'vitest'
import { formatToken, generateToken } from '../../src/domain/token.ts'
import { send } from '../support/requests/http.ts'
import { openRaw, sendRaw, statusesIn } from '../support/requests/raw-http.ts'
import { type Service, useTarget } from './target.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 180_000 })

const LIVEZ = 'GET /livez HTTP/1.1\r\nHost: porthor\r\n\r\n'
const CHUNKED =
  'POST /graphql HTTP/1.1\r\nHost: porthor\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n'
const oneByteChunks = (count: number): string => `${CHUNKED}${'1\r\n \r\n'.repeat(count)}0\r\n\r\n`

const times = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index))

describe('a server responds to others while strangers', () => {
  const t = useTarget()

  function expectServed({ livez, delegation }: Service): void {
    expect(livez.answered).toBe(livez.sent)
    expect(delegation.answered).toBe(delegation.sent)
  }

  it.each([3_999, 4_000, 4_001, 250_000])('send bodies of %i chunks of a byte each', async (count) => {
    const answers: string[] = []
    expectServed(
      await t.served(async () => {
        answers.push(...(await Promise.all(times(10, () => sendRaw(t.origin, oneByteChunks(count))))))
      }),
    )
    const expected = count > 4_000 ? [413] : [400]
    for (const answer of answers) if (answer !== '') expect(statusesIn(answer)).toEqual(expected)
  })

  it('send 20,000 requests ahead over one connection', async () => {
    const connection = await openRaw(t.origin)
    expectServed(
      await t.served(async () => {
        connection.socket.write(LIVEZ.repeat(20_000))
        const all = () => statusesIn(connection.received()).length
        await expect.poll(all, { timeout: 60_000, interval: 200 }).toBe(20_000)
      }),
    )
    connection.socket.destroy()
  })

  it('hold hundreds of connections with half a head, half a body, or a response that they do not read', async () => {
    const beginnings = [
      'POST /graphql HTTP/1.1\r\nHost: porthor\r\n',
      'POST /graphql HTTP/1.1\r\nHost: porthor\r\nContent-Length: 100\r\n\r\n{',
      'GET /metrics HTTP/1.1\r\nHost: porthor\r\n\r\n'.repeat(500),
    ]
    const connections = await Promise.all(times(300, () => openRaw(t.origin)))
    expectServed(
      await t.served(async () => {
        connections.forEach(({ socket }, index) => {
          socket.pause()
          socket.write(beginnings[index % beginnings.length] ?? '')
        })
        await send(`${t.origin}/livez`)
      }),
    )
    for (const { socket } of connections) socket.destroy()
  })

  it('open GraphiQL on a hundred connections and read nothing: the page is in memory once', async () => {
    const memory = async () => {
      const { body } = await send(`${t.origin}/metrics`)
      return Number(/^process_resident_memory_bytes (\S+)/m.exec(body)?.[1]) / 2 ** 20
    }
    const page = 'GET /graphql HTTP/1.1\r\nHost: porthor\r\nAccept: text/html\r\n\r\n'
    const connections = await Promise.all(times(100, () => openRaw(t.origin)))
    const before = await memory()
    expectServed(
      await t.served(async () => {
        for (const { socket } of connections) {
          socket.pause()
          socket.write(page)
        }
        await send(`${t.origin}/graphql`, { headers: { Accept: 'text/html' } })
      }),
    )
    expect((await memory()) - before).toBeLessThan(300)
    for (const { socket } of connections) socket.destroy()
  })

  it('try thousands of tokens that are not valid, of which only the first hundreds are looked at', async () => {
    const statuses: number[] = []
    const attempt = async () => {
      const headers = {
        'Content-Type': 'application/json',
        Authorization: `Bearer ${formatToken(generateToken())}`,
      }
      const body = JSON.stringify({ query: '{ viewer { user { username } } }' })
      statuses.push((await send(`${t.origin}/graphql`, { method: 'POST', headers }, [body])).status)
    }
    expectServed(
      await t.served(async () => {
        for (let round = 0; round < 40; round += 1) await Promise.all(times(40, attempt))
      }),
    )
    expect([...new Set(statuses)].sort()).toEqual([401, 429])
  })

  it('request readiness thousands of times', async () => {
    const connection = await openRaw(t.origin)
    expectServed(
      await t.served(async () => {
        connection.socket.write(LIVEZ.replace('livez', 'readyz').repeat(5_000))
        const all = () => statusesIn(connection.received())
        await expect.poll(() => all().length, { timeout: 60_000, interval: 200 }).toBe(5_000)
        expect(new Set(all())).toEqual(new Set([200]))
      }),
    )
    connection.socket.destroy()
  })
})
