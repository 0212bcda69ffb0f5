import { Cluster, Command } from 'ioredis'
import { UnavailableError } from '../../domain/errors.ts'
import { type Connection, connectionOf, type RedisClient } from '../redis/commands.ts'

/** Maximum time for replicas to acknowledge, in milliseconds: less than that of a command. */
export const ACKNOWLEDGE_MS = 1_000

export const createCommand = (name: string, ...args: readonly (string | number)[]): Command =>
  new Command(name, [...args], { replyEncoding: 'utf8' })

/** Sends commands that change records, and waits until a number of replicas have acknowledged them. */
export class RedisWrites {
  readonly #client: RedisClient
  readonly #replicas: number

  /** @param client A connection of its own if there are replicas to wait for: `WAIT` delays all later commands. */
  constructor(client: RedisClient, replicas: number) {
    this.#client = client
    this.#replicas = replicas
  }

  /**
   * Resolves with the replies.
   *
   * @throws {UnavailableError} Too few replicas have acknowledged: the change is made, and may be lost in a failover.
   */
  async send(commands: readonly Command[]): Promise<unknown[]> {
    const replies = await Promise.all(commands.map((command) => this.#client.sendCommand(command)))
    if (this.#replicas === 0) return replies
    const last = new Map<Connection | undefined, Command>()
    for (const command of commands) last.set(connectionOf(command), command)
    await Promise.all([...last].map((each) => this.#acknowledge(...each)))
    return replies
  }

  /** Waits on the same connection: Redis counts the replicas that have its writes. */
  async #acknowledge(connection: Connection | undefined, written: Command): Promise<void> {
    const wait = createCommand('wait', this.#replicas, ACKNOWLEDGE_MS)
    const node = this.#client instanceof Cluster ? { slot: written.getSlot() } : undefined
    const count = Number(await this.#client.sendCommand(wait, undefined, node))
    if (count >= this.#replicas && connection !== undefined && connectionOf(wait) === connection) return
    throw new UnavailableError('redis', new Error(`${this.#replicas} replicas have not acknowledged in time`))
  }
}
