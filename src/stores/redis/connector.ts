import { connect as connectPlain, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import {
  AbstractConnector,
  type Redis,
  type RedisOptions,
  type SentinelAddress,
  type SentinelConnectionOptions,
  SentinelConnector,
} from 'ioredis'

/**
 * A socket whose certificate is refused may report an error twice: that, and the other side's reply to the refusal.
 * ioredis listens for the first only, and an error that nothing listens for ends the process.
 */
function tolerateLateErrors<S extends Pick<Socket, 'on'>>(socket: S): S {
  socket.on('error', () => undefined)
  return socket
}

interface ServerAddress {
  readonly host?: string
  readonly port?: number
  readonly tls?: ConnectionOptions
  readonly disconnectTimeout?: number
}

/** Connects to one server as ioredis does, and tolerates late errors. */
export class ServerConnector extends AbstractConnector {
  readonly #address: ServerAddress

  /** @param options Options of the connection, for which ioredis exports no type. */
  constructor(options: unknown) {
    const address = options as ServerAddress
    super(address.disconnectTimeout ?? 0)
    this.#address = address
  }

  override async connect(): Promise<Socket> {
    const { host = 'localhost', port = 0, tls } = this.#address
    this.connecting = true
    // In the next tick, when the listeners of the caller are in place.
    await new Promise(setImmediate)
    if (!this.connecting) throw new Error('Connection is closed.')
    const socket = tls ? connectTls({ host, port, ...tls }) : connectPlain({ host, port })
    socket.once('error', (error) => {
      this.firstError = error
    })
    this.stream = tolerateLateErrors(socket)
    return socket
  }
}

type Endpoint = Partial<SentinelAddress>
type ConnectToSentinel = (endpoint: Endpoint, overrides?: RedisOptions) => Redis

/** Finds the master by Sentinel as ioredis does, and tolerates late errors on every connection. */
export class MasterConnector extends SentinelConnector {
  constructor(options: unknown) {
    super(options as SentinelConnectionOptions)
    // biome-ignore lint/complexity/useLiteralKeys: access to a private method
    const connectToSentinel: ConnectToSentinel = this['connectToSentinel'].bind(this)
    // biome-ignore lint/complexity/useLiteralKeys: as above
    this['connectToSentinel'] = (endpoint: Endpoint, overrides?: RedisOptions) =>
      connectToSentinel(endpoint, { ...overrides, Connector: ServerConnector }).on('error', () => undefined)
  }

  override async connect(report: Parameters<SentinelConnector['connect']>[0]) {
    return tolerateLateErrors(await super.connect(report))
  }
}
