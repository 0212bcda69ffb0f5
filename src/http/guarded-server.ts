import { once } from 'node:events'
import { createServer as createHttpServer, type Server } from 'node:http'
import { Server as NetServer } from 'node:net'
import { findDescriptorLimit, maxConnectionsUnder } from '../lib/descriptor-limit.ts'
import { type ConnectionLimits, Connections, type RequestHandler } from './connections.ts'
import type { BodyLimits } from './read-body.ts'
import { respondToUnreadable } from './unreadable-request.ts'

/** Limits on the clients of a server. Times are in milliseconds. */
export interface ServerLimits extends ConnectionLimits, BodyLimits {
  /** Maximum time in which the head of a request must arrive, and the whole request. */
  readonly headersTimeoutMs: number
  readonly requestTimeoutMs: number
  /** Maximum size of the target and the header fields of a request, in bytes. */
  readonly maxHeaderSize: number
}

const DEFAULT_LIMITS: Omit<ServerLimits, 'maxConnections'> = {
  maxRunning: 32,
  maxWaiting: 10_000,
  // Many times the size of any query within the limits of GraphQL.
  maxBytes: 256 * 1024,
  maxChunks: 4_000,
  maxHeldBytes: 64 * 1024 * 1024,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  maxHeaderSize: 16 * 1024,
  stallTimeoutMs: 30_000,
  minBytesPerSecond: 10 * 1024,
}

/** Time between two checks for requests that take too long to arrive, in milliseconds. */
const CHECK_INTERVAL_MS = 1_000

/** Maximum time for running requests to end at shutdown, in milliseconds. */
const DRAIN_MS = 10_000

/** Time at shutdown in which a connection that has sent nothing may still send a request, in milliseconds. */
const FIRST_BYTE_MS = 500

/**
 * Time at shutdown in which an idle connection is still served, in milliseconds: a request may be in transit. A busy
 * client sends its next request in that time, and the response asks it to close the connection.
 */
const IDLE_GRACE_MS = 1_000

/**
 * Time for which an idle connection is kept, in milliseconds. It is longer than the 60 s of common proxies, so that the
 * proxy closes the connection, and not Porthor while a request is in transit.
 */
const KEEP_ALIVE_MS = 65_000

const connectionsOf = new WeakMap<Server, Connections>()

/** Returns the limits of a server that has all connections: the defaults, except for those that are given. */
export const serverLimits = (given: Partial<ServerLimits>): ServerLimits => ({
  ...DEFAULT_LIMITS,
  maxConnections: maxConnectionsOfProcess(),
  ...given,
})

const maxConnectionsOfProcess = (): number =>
  maxConnectionsUnder(findDescriptorLimit() ?? Number.MAX_SAFE_INTEGER)

/** Maximum number of connections to probes and metrics. */
const MAX_ADMIN_CONNECTIONS = 100

/**
 * Divides the connections of the process among its servers: whoever takes all connections to one port takes none of the
 * others', nor the descriptors of the stores.
 *
 * @param listeners Which ports there are beside that of the API.
 */
export function shareConnections({ auth, admin }: { readonly auth: boolean; readonly admin: boolean }): {
  readonly api: number
  readonly auth: number
  readonly admin: number
} {
  const all = maxConnectionsOfProcess()
  const ofAdmin = admin ? Math.min(MAX_ADMIN_CONNECTIONS, Math.ceil(all / 4)) : 0
  const ofAuth = auth ? Math.floor((all - ofAdmin) / 2) : 0
  return { api: all - ofAdmin - ofAuth, auth: ofAuth, admin: ofAdmin }
}

/** Creates an HTTP server whose clients cannot take more than `limits` allow. It does not listen yet. */
export function createGuardedServer(limits: ServerLimits, handle: RequestHandler): Server {
  const connections = new Connections(limits, handle)
  const server = createHttpServer({
    keepAliveTimeout: KEEP_ALIVE_MS,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    connectionsCheckingInterval: Math.min(CHECK_INTERVAL_MS, limits.headersTimeoutMs),
    maxHeaderSize: limits.maxHeaderSize,
    joinDuplicateHeaders: true,
    // `findTargetProblem` checks it, with a message.
    requireHostHeader: false,
  })
  // Node discards the fields after this number: a second Authorization field must not disappear.
  server.maxHeadersCount = 0
  connections.attach(server)
  respondToUnreadable(server, limits)
  connectionsOf.set(server, connections)
  return server
}

/**
 * Stops accepting connections, and resolves when all are closed. A busy connection is closed with its next response, an
 * idle one also after a second. One that has sent nothing yet, as browsers open in advance, is closed after half a
 * second, and any other after ten.
 */
export async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close')
  // Otherwise a client that keeps its connection busy would be served until the connection is cut.
  server.prependListener('request', (_request, response) => response.setHeader('Connection', 'close'))
  // Closes only the listener. The method of the HTTP server also cuts idle connections, on which a request may arrive.
  NetServer.prototype.close.call(server)
  const cuts = [
    // After the data that has arrived meanwhile was read.
    setTimeout(() => setImmediate(() => connectionsOf.get(server)?.closeSilent()), FIRST_BYTE_MS),
    setTimeout(() => {
      // Starts when a response that is being sent is complete.
      server.keepAliveTimeout = 1
      setImmediate(() => server.closeIdleConnections())
    }, IDLE_GRACE_MS),
    setTimeout(() => server.closeAllConnections(), DRAIN_MS),
  ]
  await closed
  for (const cut of cuts) clearTimeout(cut)
  // Also stops the timer that checks timeouts.
  server.close()
}
