import { once } from 'node:events'
import { createServer as createHttpServer, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { ProcessContext } from './context.ts'
import { createGraphQLHandler, ENDPOINT } from './graphql.ts'
import { Metrics } from './plugins/metrics.ts'

/** How long requests under way may take to end at shutdown, in milliseconds. */
const DRAIN_MS = 10_000

/** How long a connection that has sent nothing yet may still do so at shutdown, in milliseconds. */
const FIRST_BYTE_MS = 500

/**
 * How long an idle connection is kept, in milliseconds: longer than the 60 s of common proxies, so that it
 * is they who give it up, and not Porthor while a request is on its way.
 */
const KEEP_ALIVE_MS = 65_000

const openConnections = new WeakMap<Server, Set<Socket>>()

/** An HTTP server for the API, its health and its metrics. Not yet listening. */
export function createServer(process: ProcessContext): Server {
  const metrics = new Metrics()
  const answerGraphQL = createGraphQLHandler(process, metrics)
  const server = createHttpServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
    const path = request.url?.split('?', 1)[0]
    if (path === ENDPOINT) answerGraphQL(request, response)
    else void answerOther(process, metrics, path, response)
  })
  const connections = new Set<Socket>()
  openConnections.set(server, connections)
  return server.on('connection', (socket: Socket) => {
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
  })
}

/**
 * Stops taking connections, and resolves when those that there are have been closed: an idle one at once, a busy one
 * with its next answer, one that has sent nothing yet, as browsers keep in advance, after half a second, and any
 * other after ten.
 */
export async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close')
  // Else a client that keeps its connection busy would be served until it is cut.
  server.prependListener('request', (_request, response) => response.setHeader('Connection', 'close'))
  // Counts from when an answer that is under way has been sent in full.
  server.keepAliveTimeout = 1
  server.close()
  const cuts = [
    // Not before what has arrived meanwhile was read.
    setTimeout(() => setImmediate(closeSilentConnections, server), FIRST_BYTE_MS),
    setTimeout(() => server.closeAllConnections(), DRAIN_MS),
  ]
  await closed
  for (const cut of cuts) clearTimeout(cut)
}

/** For Node these are not idle: it waits for their first request. */
function closeSilentConnections(server: Server): void {
  for (const socket of openConnections.get(server) ?? []) {
    if (socket.bytesRead === 0) socket.destroy()
  }
}

async function answerOther(
  process: ProcessContext,
  { registry }: Metrics,
  path: string | undefined,
  response: ServerResponse,
): Promise<void> {
  const answer = (status: number, body: string, type = 'text/plain; charset=utf-8'): void => {
    response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(`${body}\n`)
  }
  switch (path) {
    case '/livez':
      return answer(200, 'alive')
    case '/readyz':
      return process.ping().then(
        () => answer(200, 'ready'),
        () => answer(503, 'a storage service does not answer'),
      )
    case '/metrics':
      return answer(200, await registry.metrics(), registry.contentType)
    case '/':
      response.setHeader('Location', ENDPOINT)
      return answer(302, `The API is at ${ENDPOINT}`)
    default:
      return answer(404, `Nothing here. The API is at ${ENDPOINT}`)
  }
}
