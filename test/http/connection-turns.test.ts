import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { Connections } from '../../src/http/connections.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { openRaw, statusesIn } from '../support/requests/raw-http.ts'

const LIMITS = {
  maxConnections: 1_000,
  maxRunning: 32,
  maxWaiting: 10_000,
  stallTimeoutMs: 60_000,
  minBytesPerSecond: 0,
}

const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: porthor\r\n\r\n`

/** The first does not wait for its turn. */
const REQUESTS = request('/first') + request('/work').repeat(10)

/** Work of one request, in milliseconds: more than a turn of the event loop may take. */
const WORK_MS = 6

it('others are served after a few milliseconds of work for requests that were sent ahead, also if the work follows the start of a request', async () => {
  /** Requests whose work was done since the event loop last looked for what came in. */
  let works = 0
  let most = 0
  let isWatched = true
  const watch = () => {
    most = Math.max(most, works)
    works = 0
    if (isWatched) setImmediate(watch)
  }
  const connections = new Connections(LIMITS, async ({ url: path }, response) => {
    await Promise.resolve()
    if (path === '/first') return void response.end()
    for (const end = systemClock.monotonicMs() + WORK_MS; systemClock.monotonicMs() < end; );
    works += 1
    response.end()
  })
  const server = createServer()
  connections.attach(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const clients = await Promise.all(Array.from({ length: 20 }, () => openRaw(url)))
  onTestFinished(() => {
    isWatched = false
    for (const { socket } of clients) socket.destroy()
    server.close()
  })

  watch()
  for (const { socket } of clients) socket.write(REQUESTS)
  for (const { received } of clients) {
    await expect.poll(() => statusesIn(received()).length, { timeout: 20_000 }).toBe(11)
  }
  expect(most).toBeLessThanOrEqual(3)
})
