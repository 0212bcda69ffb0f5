import { once } from 'node:events'
import { createServer as createHttpServer, type Server, type ServerResponse } from 'node:http'
import { Server as NetServer } from 'node:net'
import type { ProcessContext } from './context.ts'
import { UnavailableError } from './domain/errors.ts'
import { createGraphQLHandler, ENDPOINT } from './graphql.ts'
import { type ConnectionLimits, Connections } from './lib/connections.ts'
import { findDescriptorLimit, maxConnectionsUnder } from './lib/descriptor-limit.ts'
import { type BodyLimits, BodyReader } from './lib/read-body.ts'
import { findHeadFault } from './lib/request-head.ts'
import { writeAnswer } from './plain-post.ts'
import { Metrics } from './plugins/metrics.ts'
import { toBadRequest } from './refusals.ts'
import { NotWritableError } from './stores/writable.ts'
import { answerUnreadable } from './unreadable.ts'

/** What a server bears of its clients. Times are in milliseconds. */
export interface ServerLimits extends ConnectionLimits, BodyLimits {
  /** How long the head of a request may take to arrive, and the whole of it. */
  readonly headersTimeoutMs: number
  readonly requestTimeoutMs: number
}

const DEFAULT_LIMITS: Omit<ServerLimits, 'maxConnections'> = {
  maxUnderWay: 32,
  maxWaiting: 10_000,
  // Many times any query that the limits of GraphQL let pass.
  maxBytes: 256 * 1024,
  maxChunks: 4_000,
  maxHeldBytes: 64 * 1024 * 1024,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  stallTimeoutMs: 30_000,
  minBytesPerSecond: 10 * 1024,
}

/** How often it is looked for requests that take too long to arrive, in milliseconds. */
const LOOK_MS = 1_000

/** How long requests under way may take to end at shutdown, in milliseconds. */
const DRAIN_MS = 10_000

/** How long a connection that has sent nothing yet may still do so at shutdown, in milliseconds. */
const FIRST_BYTE_MS = 500

/**
 * How long an idle connection is still served at shutdown, in milliseconds: a request may be on its way. A client
 * in full swing sends its next one by then, and is told by the response to close.
 */
const IDLE_GRACE_MS = 1_000

/**
 * How long an idle connection is kept, in milliseconds: longer than the 60 s of common proxies, so that it
 * is they who give it up, and not Porthor while a request is on its way.
 */
const KEEP_ALIVE_MS = 65_000

const connectionsOf = new WeakMap<Server, Connections>()

/** An HTTP server for the API, its health and its metrics. Not yet listening. */
export function createServer(process: ProcessContext, given: Partial<ServerLimits> = {}): Server {
  const limits: ServerLimits = {
    ...DEFAULT_LIMITS,
    maxConnections: maxConnectionsUnder(findDescriptorLimit() ?? Number.MAX_SAFE_INTEGER),
    ...given,
  }
  const metrics = new Metrics()
  const answerGraphQL = createGraphQLHandler(process, metrics, new BodyReader(limits))
  const connections = new Connections(limits, (request, response) => {
    const fault = findHeadFault(request)
    if (fault !== undefined) return writeAnswer(response, toBadRequest(fault))
    const path = request.url?.split('?', 1)[0]
    if (path === ENDPOINT) answerGraphQL(request, response)
    else answerOther(process, metrics, path, response).catch(() => response.destroy())
  })
  const server = createHttpServer({
    keepAliveTimeout: KEEP_ALIVE_MS,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    connectionsCheckingInterval: Math.min(LOOK_MS, limits.headersTimeoutMs),
    joinDuplicateHeaders: true,
    // Looked for by us, whose refusal says so.
    requireHostHeader: false,
  })
  connections.attach(server)
  answerUnreadable(server)
  connectionsOf.set(server, connections)
  return server
}

/**
 * Stops taking connections, and resolves when those that there are have been closed: a busy one with its next
 * response; an idle one too, or after a second; one that has sent nothing yet, as browsers keep in advance, after
 * half a second; and any other after ten.
 */
export async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close')
  // Else a client that keeps its connection busy would be served until it is cut.
  server.prependListener('request', (_request, response) => response.setHeader('Connection', 'close'))
  // Only the listener: that of HTTP also cuts idle connections, with a request that may be on its way.
  NetServer.prototype.close.call(server)
  const cuts = [
    // Not before what has arrived meanwhile was read.
    setTimeout(() => setImmediate(() => connectionsOf.get(server)?.closeSilent()), FIRST_BYTE_MS),
    setTimeout(() => {
      // Counts from when a response that is under way has been sent in full.
      server.keepAliveTimeout = 1
      setImmediate(() => server.closeIdleConnections())
    }, IDLE_GRACE_MS),
    setTimeout(() => server.closeAllConnections(), DRAIN_MS),
  ]
  await closed
  for (const cut of cuts) clearTimeout(cut)
  // What else it has: the timer of its timeouts.
  server.close()
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
        (error: unknown) => answer(503, describeOutage(error)),
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

const describeOutage = (error: unknown): string =>
  error instanceof UnavailableError && error.cause instanceof NotWritableError
    ? error.cause.summary
    : 'a storage service does not answer'
