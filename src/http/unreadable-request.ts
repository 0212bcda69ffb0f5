import { type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { refuse } from './refusals.ts'
import { type PreparedResponse, writeResponse } from './response.ts'

/**
 * Responses to requests that Node itself would refuse, with a status only or by closing the connection. Each states what
 * would be right.
 */

/** Time that a client which is still sending has to read such a response, in milliseconds. */
const LINGER_MS = 1_000

const BAD_HTTP = refuse('BAD_REQUEST', 'The request is not valid HTTP/1.1 (RFC 9112).', { status: 400 })

const headTooLarge = (maxHeaderSize: number): PreparedResponse =>
  refuse(
    'BAD_REQUEST',
    `The request target and header fields are too large: send at most ${maxHeaderSize / 1024} KiB of them.`,
    { status: 431 },
  )

/** Responses by the codes of Node's errors. */
const UNREADABLE: ReadonlyMap<string | undefined, PreparedResponse> = new Map([
  [
    'HPE_CHUNK_EXTENSIONS_OVERFLOW',
    refuse('REQUEST_ENTITY_TOO_LARGE', 'The chunk extensions of the body are too large: send none.', {
      status: 413,
    }),
  ],
  [
    'ERR_HTTP_REQUEST_TIMEOUT',
    refuse(
      'BAD_REQUEST',
      'The request took too long to arrive: send its head within 10 s, all of it within 30 s.',
      {
        status: 408,
      },
    ),
  ],
])

const UNKNOWN_EXPECTATION = refuse(
  'BAD_REQUEST',
  'The expectation is not supported: leave the Expect field out, or send 100-continue.',
  { status: 417 },
)

const NO_TUNNEL = refuse('BAD_REQUEST', 'CONNECT is not supported: send a POST to /graphql.', {
  status: 405,
  headers: { Allow: 'GET, POST' },
})

/** Makes `server` respond to requests that are not valid HTTP, have another `Expect`, or use CONNECT. */
export function respondToUnreadable(
  server: Server,
  { maxHeaderSize }: { readonly maxHeaderSize: number },
): void {
  const responses = new Map(UNREADABLE).set('HPE_HEADER_OVERFLOW', headTooLarge(maxHeaderSize))
  const unanswered = new WeakMap<Duplex, Set<ServerResponse>>()
  server.on('request', ({ socket }, response) => {
    const open = unanswered.get(socket) ?? new Set()
    unanswered.set(socket, open.add(response))
    response.once('close', () => open.delete(response))
  })
  // The client may have sent valid requests before on the same connection: their responses come first.
  const respondLast = async (socket: Duplex, response: PreparedResponse): Promise<void> => {
    // Without the request whose body is not valid: its response is this one.
    const earlier = [...(unanswered.get(socket) ?? [])].filter(({ req }) => req.complete)
    await Promise.all(earlier.map((each) => new Promise((resolve) => each.once('close', resolve))))
    writeLast(socket, response)
  }
  const isRefused = new WeakSet<Duplex>()
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET') socket.destroy()
    // Node reports an error again for what the client still sends.
    else if (!isRefused.has(socket)) {
      isRefused.add(socket)
      void respondLast(socket, responses.get(error.code) ?? BAD_HTTP)
    }
  })
  server.on('checkExpectation', (_request, response) => writeResponse(response, UNKNOWN_EXPECTATION))
  server.on('connect', (_request, socket) => void respondLast(socket, NO_TUNNEL))
}

/** Writes a response and closes the connection. Further data are discarded: a reset could overtake the response. */
function writeLast(socket: Duplex, { status, headers, body }: PreparedResponse): void {
  if (!socket.writable) return
  const fields = { ...headers, 'Content-Length': Buffer.byteLength(body), Connection: 'close' }
  const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.on('error', () => socket.destroy())
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head.join('')}\r\n${body}`)
  setTimeout(() => socket.destroy(), LINGER_MS).unref()
}
