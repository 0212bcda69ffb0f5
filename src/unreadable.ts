import { type Server, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { type PlainAnswer, writeAnswer } from './plain-post.ts'
import { refuse } from './refusals.ts'

/**
 * Responses to what Node refuses by itself, with a bare status or by closing the connection. Each states what would be
 * right.
 */

/** How long a client may take to read such a response while it still sends, in milliseconds. */
const LINGER_MS = 1_000

const BAD_HTTP = refuse('BAD_REQUEST', 'The request is not valid HTTP/1.1 (RFC 9112).', { status: 400 })

/** By the codes of Node's errors. */
const UNREADABLE: ReadonlyMap<string | undefined, PlainAnswer> = new Map([
  [
    'HPE_HEADER_OVERFLOW',
    refuse(
      'BAD_REQUEST',
      'The request target and header fields are too large: send at most 16 KiB of them.',
      {
        status: 431,
      },
    ),
  ],
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

/** Has `server` respond to what cannot be read, expects too much, or asks for a tunnel. */
export function answerUnreadable(server: Server): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET') socket.destroy()
    // A response is always written in one piece, so that this one comes behind it and not into it.
    else writeLast(socket, UNREADABLE.get(error.code) ?? BAD_HTTP)
  })
  server.on('checkExpectation', (_request, response) => writeAnswer(response, UNKNOWN_EXPECTATION))
  server.on('connect', (_request, socket) => writeLast(socket, NO_TUNNEL))
}

/** Writes a response by which the connection ends. What still arrives is dropped, for a reset could overtake it. */
function writeLast(socket: Duplex, { status, headers, body }: PlainAnswer): void {
  if (!socket.writable) return
  const fields = { ...headers, 'Content-Length': Buffer.byteLength(body), Connection: 'close' }
  const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.on('error', () => socket.destroy())
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head.join('')}\r\n${body}`)
  setTimeout(() => socket.destroy(), LINGER_MS).unref()
}
