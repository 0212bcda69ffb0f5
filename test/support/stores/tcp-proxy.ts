import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A cable that a test can cut: passes bytes on between clients and one server. */
export interface TcpProxy {
  readonly port: number
  /** `url` with this proxy in place of the server that it names. */
  through(url: string): string
  /** From now on, new connections lead to the server that `url` names. Those that there are stay. */
  lead(url: string): void
  /** Ends all connections, in both directions; new ones are passed on. */
  cut(): void
  /** Passes nothing on, on connections old and new, until `pass`. */
  stall(): void
  /**
   * Swallows whatever comes on the connections that there are, for good and in both directions, and closes none, as a
   * firewall does that has forgotten them. With `text`, only those on which a client has sent that, ever.
   */
  forget(text?: string): void
  /** As `forget`, also for new connections until `pass`. */
  swallow(): void
  /** Ends all connections, and refuses new ones until `pass`. */
  refuse(): Promise<void>
  /** Passes everything on again. */
  pass(): Promise<void>
  /**
   * Waits for a client to send something with `text` in it, and then ends that connection: `before` the
   * server learns of it, or `after` it has answered, the answer being lost. Or swallows it: `hold`. Or keeps it and
   * what that client sends afterwards, until `pass`: `delay`. Once only; resolves when it has been done.
   */
  stopAt(text: string, when: Trap['when']): Promise<void>
  close(): Promise<void>
}

interface Trap {
  readonly text: string
  readonly when: 'before' | 'after' | 'hold' | 'delay'
  readonly sprung: () => void
}

interface Line {
  /** All that the client has sent. */
  sent: string
  isForgotten: boolean
}

/** Opens a proxy on 127.0.0.1, in front of the server that `url` names. */
export async function openTcpProxy(url: string): Promise<TcpProxy> {
  let target = new URL(url)
  const pairs = new Set<readonly [Socket, Socket]>()
  const lines = new Set<Line>()
  let isStalled = false
  let isSwallowing = false
  let trap: Trap | undefined

  const pass = (client: Socket): void => {
    const server = connect(Number(target.port), target.hostname)
    const pair = [client, server] as const
    const line: Line = { sent: '', isForgotten: isSwallowing }
    pairs.add(pair)
    lines.add(line)
    const end = () => {
      for (const socket of pair) socket.destroy()
      pairs.delete(pair)
      lines.delete(line)
    }
    for (const socket of pair) {
      socket.setNoDelay(true)
      socket.on('error', end).on('close', end)
      if (isStalled) socket.pause()
    }
    let isAnswerLost = false
    client.on('data', (chunk) => {
      line.sent += chunk.toString('latin1')
      if (line.isForgotten) return
      if (!trap || !chunk.includes(trap.text)) return void server.write(chunk)
      const { when, sprung } = trap
      trap = undefined
      if (when === 'after') {
        isAnswerLost = true
        server.once('data', () => {
          end()
          sprung()
        })
        return void server.write(chunk)
      }
      if (when === 'before') end()
      if (when === 'delay') {
        client.pause()
        client.unshift(chunk)
      }
      sprung()
    })
    server.on('data', (chunk) => {
      if (!isAnswerLost && !line.isForgotten) client.write(chunk)
    })
  }

  const listener = createServer(pass)
  const listen = async (on: number): Promise<void> => {
    listener.listen(on, '127.0.0.1')
    await once(listener, 'listening')
  }
  await listen(0)
  const { port: ownPort } = listener.address() as AddressInfo
  const cut = () => {
    for (const [client, server] of pairs) {
      client.destroy()
      server.destroy()
    }
  }
  const stopListening = async () => {
    if (!listener.listening) return
    const closed = once(listener, 'close')
    listener.close()
    cut()
    await closed
  }

  return {
    port: ownPort,
    through: (original) => {
      const own = new URL(original)
      own.hostname = '127.0.0.1'
      own.port = String(ownPort)
      return own.href
    },
    lead: (next) => {
      target = new URL(next)
    },
    cut,
    stall: () => {
      isStalled = true
      for (const socket of [...pairs].flat()) socket.pause()
    },
    forget: (text = '') => {
      for (const line of lines) line.isForgotten ||= line.sent.includes(text)
    },
    swallow: () => {
      isSwallowing = true
      for (const line of lines) line.isForgotten = true
    },
    refuse: stopListening,
    pass: async () => {
      isStalled = false
      isSwallowing = false
      for (const socket of [...pairs].flat()) socket.resume()
      if (!listener.listening) await listen(ownPort)
    },
    stopAt: (text, when) =>
      new Promise((sprung) => {
        trap = { text, when, sprung }
      }),
    close: stopListening,
  }
}
