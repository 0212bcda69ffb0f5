import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** A connection over which a test sends whatever it likes. */
export interface RawConnection {
  readonly socket: Socket
  /** All that has been received so far. */
  readonly received: () => string
  /** Resolves when the other side has closed, with all that was received. */
  readonly closed: Promise<string>
}

/** Connects to the server that `url` is of. */
export async function openRaw(url: string): Promise<RawConnection> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname).setEncoding('utf8')
  let text = ''
  socket.on('data', (part: string) => {
    text += part
  })
  // What the other side broke off shows in what was received.
  socket.on('error', () => undefined)
  const closed = new Promise<string>((resolve) => {
    socket.on('close', () => resolve(text))
  })
  await once(socket, 'connect')
  return { socket, received: () => text, closed }
}

/** Sends `text` over a connection of its own, and resolves with all that comes back until it is closed. */
export async function sendRaw(url: string, text: string): Promise<string> {
  const { socket, closed } = await openRaw(url)
  socket.write(text)
  return closed
}

/** The status of each response in `text`. */
export const statusesIn = (text: string): number[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
