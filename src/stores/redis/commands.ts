import { Cluster, type Command, Redis } from 'ioredis'
import { UnavailableError } from '../../domain/errors.ts'

/** One server, be it found by Sentinel, or a cluster of them. */
export type RedisClient = Redis | Cluster

/** How long Redis may keep a request waiting, in milliseconds, connecting included. */
export const COMMAND_TIMEOUT_MS = 2_000

/**
 * Commands of requests that may wait for one server or cluster at a time. Those that have given up count too,
 * since ioredis keeps them until the server is available again: an outage must not fill the memory.
 */
export const MAX_WAITING = 20_000

/** What requests send. Other commands are few, and some of them are how ioredis itself connects. */
const COMMANDS_OF_REQUESTS: ReadonlySet<string> = new Set(['get', 'set', 'ping'])

/** Commands whose reply or effect depends on the data of the server. */
const COMMANDS_ON_DATA: ReadonlySet<string> = new Set(['get', 'set', 'del', 'eval', 'scan', 'wait'])

/** One connection to one server: from when the one before it was closed until it is closed itself. */
export interface Connection {
  /** Whether the data of the server are known to be current. Until then, commands on data wait. */
  isAdmitted: boolean
  /** Instead of waiting, commands on data are refused with this message, if any. */
  refusal: string | undefined
  isClosed: boolean
}

/** On which connection a command that writes was sent last. */
const sentOn = new WeakMap<object, Connection>()

export const connectionOf = (command: Command): Connection | undefined => sentOn.get(command)

type Sent = Parameters<Cluster['sendCommand']>

/** The commands to one server: which of them are sent, and when. */
export class CommandFlow {
  readonly #client: RedisClient
  readonly #send: Cluster['sendCommand']
  /** Whether each connection has to be admitted first. */
  readonly #isGuarded: boolean
  #connection: Connection
  /** Commands that wait for their connection to be admitted. */
  #held: Sent[] = []
  /** How many commands of requests wait for a connection. */
  #queued = 0

  /**
   * From here on `client` lets no command wait for longer than it may, be it for a connection, nor too many at a
   * time, and sends none that has given up: its sender was told so. But a `DEL` is sent late too: it takes away
   * what was not to be, and nothing comes back by it. A `SET` is sent once: the first copy may still be on its way
   * when its connection is lost, and arrive after the token has been revoked.
   */
  constructor(client: RedisClient, { isGuarded }: { readonly isGuarded: boolean }) {
    this.#client = client
    this.#send = client.sendCommand.bind(client)
    this.#isGuarded = isGuarded
    this.#connection = this.#nextConnection()
    client.sendCommand = (...sent: Sent) => this.#sendInTime(...sent)
    client.on('ready', () => {
      this.#queued = 0
    })
    // Before anything is sent on the next connection: ioredis makes that a moment later.
    client.on('close', () => {
      this.#connection.isClosed = true
      this.#connection = this.#nextConnection()
    })
    // Word for word what ioredis says, upon which a cluster's client looks for another node.
    client.on('end', () => this.#rejectHeld('Connection is closed.'))
  }

  get connection(): Connection {
    return this.#connection
  }

  /** Sends what has waited for `connection`, unless that is closed by now. */
  admit(connection: Connection): void {
    if (connection !== this.#connection) return
    connection.isAdmitted = true
    connection.refusal = undefined
    const due = this.#held
    this.#held = []
    for (const sent of due) this.#sendInTime(...sent)
  }

  /** Refuses commands on data on `connection`, those that wait included, until it is admitted. */
  refuse(connection: Connection, message: string): void {
    connection.refusal = message
    this.#rejectHeld(message)
  }

  #nextConnection(): Connection {
    return { isAdmitted: !this.#isGuarded, refusal: undefined, isClosed: false }
  }

  #rejectHeld(message: string): void {
    const due = this.#held
    this.#held = []
    for (const [command] of due) command.reject(new Error(message))
  }

  #sendInTime(...sent: Sent): unknown {
    const [command, stream, node] = sent
    if (command.isSettled && command.name !== 'del') return command.promise
    if (command.name === 'set' && sentOn.get(command)?.isClosed) {
      return reject(command, 'the connection was lost before the reply')
    }
    if (COMMANDS_OF_REQUESTS.has(command.name)) {
      if (this.#waiting() >= MAX_WAITING) return reject(command, `${MAX_WAITING} commands wait already`)
      if (this.#client.status !== 'ready') this.#queued += 1
    }
    command.setTimeout(COMMAND_TIMEOUT_MS)
    if (this.#client.status === 'ready' && COMMANDS_ON_DATA.has(command.name)) {
      const connection = this.#connection
      if (connection.refusal !== undefined) {
        command.reject(new Error(connection.refusal))
        return command.promise
      }
      if (!connection.isAdmitted) {
        this.#held.push(sent)
        return command.promise
      }
      if (command.name !== 'get' && this.#client instanceof Redis) sentOn.set(command, connection)
    }
    return this.#send(command, stream, node)
  }

  #waiting(): number {
    const { status } = this.#client
    if (status !== 'ready') return this.#queued + this.#held.length
    const unanswered = this.#client instanceof Cluster ? 0 : this.#client.commandQueue.length
    return unanswered + this.#held.length
  }
}

function reject(command: Command, reason: string): unknown {
  command.reject(new UnavailableError('redis', new Error(reason)))
  return command.promise
}
