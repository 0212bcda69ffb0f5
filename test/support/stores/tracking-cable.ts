import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A cable to Redis on which the connections that tell of changes can be lost, and no others. */
export interface TrackingCable {
  /** `url` with this cable in place of the server that it names. */
  through(url: string): string
  /**
   * From now until `speak`, whatever goes over the tracking connections, old and new, is lost in both
   * directions, and so is word of their end: as where a firewall forgets a connection.
   */
  silence(): void
  /** Lets tracking connections made from now on live. */
  speak(): void
  /** What Redis has said that was lost. */
  lost(): string
  close(): Promise<void>
}

/** What a client says on a connection that takes part in tracking, and on no other. */
const TRACKING = /__redis__:invalidate|TRACKING/

/** Opens a cable on 127.0.0.1, to the Redis that `url` names. */
export async function openTrackingCable(url: string): Promise<TrackingCable> {
  const { hostname, port } = new URL(url)
  const lines = new Set<{ isTracking: boolean; isDead: boolean; readonly sockets: readonly Socket[] }>()
  let isSilent = false
  let lost = ''

  const pass = (client: Socket): void => {
    const server = connect(Number(port), hostname)
    const line = { isTracking: false, isDead: false, sockets: [client, server] }
    lines.add(line)
    const end = () => {
      if (line.isDead) return
      for (const socket of line.sockets) socket.destroy()
      lines.delete(line)
    }
    for (const socket of line.sockets) socket.setNoDelay(true).on('error', end).on('close', end)
    client.on('data', (chunk) => {
      line.isTracking ||= TRACKING.test(chunk.toString('latin1'))
      line.isDead ||= line.isTracking && isSilent
      if (!line.isDead) server.write(chunk)
    })
    server.on('data', (chunk) => {
      if (line.isDead) lost += chunk.toString('latin1')
      else client.write(chunk)
    })
  }

  const listener = createServer(pass).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port: ownPort } = listener.address() as AddressInfo

  return {
    through: (original) => {
      const own = new URL(original)
      own.hostname = '127.0.0.1'
      own.port = String(ownPort)
      return own.href
    },
    silence: () => {
      isSilent = true
      for (const line of lines) line.isDead ||= line.isTracking
    },
    speak: () => {
      isSilent = false
    },
    lost: () => lost,
    close: async () => {
      const closed = once(listener, 'close')
      listener.close()
      for (const socket of [...lines].flatMap(({ sockets }) => sockets)) socket.destroy()
      await closed
    },
  }
}
