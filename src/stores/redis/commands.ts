import { Cluster, type Command, Redis } from 'ioredis'
import { UnavailableError } from '../../domain/errors.ts'

/** A client of one server, fixed or found by Sentinel, or of a cluster. */
export type RedisClient = Redis | Cluster

/** Maximum time of a command, including connecting, in milliseconds. */
export const COMMAND_TIMEOUT_MS = 2_000

/**
 * Maximum number of commands of requests that wait for one server or cluster. It includes those that have timed out, since
 * ioredis keeps them until the server is available again: an outage must not fill the memory.
 */
export const MAX_WAITING = 20_000

/** Commands that requests send. Others are few, and ioredis sends some of them to connect. */
const COMMANDS_OF_REQUESTS: ReadonlySet<string> = new Set(['get', 'set', 'ping'])

/** Commands whose reply or effect depends on the data of the server. */
const COMMANDS_ON_DATA: ReadonlySet<string> = new Set(['get', 'set', 'del', 'eval', 'scan', 'wait'])

/** One connection to one server. It begins when the previous one is closed, before the socket is open. */
export interface Connection {
  /** Whether the data of the server are known to be current. Until then, commands on data wait. */
  isAdmitted: boolean
  /** If set, commands on data are refused with this message instead of waiting. */
  refusal: string | undefined
  isClosed: boolean
}

/** The connection on which each command that writes was last sent. */
const sentOn = new WeakMap<object, Connection>()

export const connectionOf = (command: Command): Connection | undefined => sentOn.get(command)

type Sent = Parameters<Cluster['sendCommand']>

/** Decides which commands are sent to one server, and when. */
export class CommandFlow {
  readonly #client: RedisClient
  readonly #send: Cluster['sendCommand']
  /** Whether each connection must be admitted before commands on data are sent. */
  readonly #isGuarded: boolean
  #connection: Connection
  /** Commands that wait for their connection to be admitted. */
  #held: Sent[] = []
  /** Number of commands of requests that wait for a connection. */
  #queued = 0

  /**
   * Replaces `client.sendCommand`. From then on commands time out also while they wait for a connection, only a limited
   * number waits, and a command that has timed out is not sent. An exception is `DEL`: sent late, it still removes a record
   * that must not exist. A `SET` is sent only once: a first copy may be in transit when its connection is lost, and a second
   * one could arrive after the token was revoked.
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
    // Runs before anything is sent on the next connection, which ioredis opens later.
    client.on('close', () => {
      this.#connection.isClosed = true
      this.#connection = this.#nextConnection()
    })
    // Exactly the message of ioredis, which makes a cluster's client choose another node.
    client.on('end', () => this.#rejectHeld('Connection is closed.'))
  }

  get connection(): Connection {
    return this.#connection
  }

  /** Sends the commands that waited for `connection`, unless it is closed by now. */
  admit(connection: Connection): void {
    if (connection !== this.#connection) return
    connection.isAdmitted = true
    connection.refusal = undefined
    const due = this.#held
    this.#held = []
    for (const sent of due) this.#sendInTime(...sent)
  }

  /** Refuses commands on data on `connection`, including those that wait, until it is admitted. */
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
      if (this.#waiting() >= MAX_WAITING)
        return reject(command, `${MAX_WAITING} commands are already waiting`)
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
