import { Cluster, Command } from 'ioredis'
import { UnavailableError } from '../../domain/errors.ts'
import { type Connection, connectionOf, type RedisClient } from '../redis/commands.ts'

/** How long replicas may take to acknowledge, in milliseconds: less than a command may. */
export const ACKNOWLEDGE_MS = 1_000

export const createCommand = (name: string, ...args: readonly (string | number)[]): Command =>
  new Command(name, [...args], { replyEncoding: 'utf8' })

/** Sends what changes records, and waits for as many replicas as are asked for to have it. */
export class RedisWrites {
  readonly #client: RedisClient
  readonly #replicas: number

  /** @param client One of its own where there are replicas to wait for: what comes behind a `WAIT` waits too. */
  constructor(client: RedisClient, replicas: number) {
    this.#client = client
    this.#replicas = replicas
  }

  /**
   * Resolves with the replies.
   *
   * @throws {UnavailableError} Too few replicas have it by now: it is done, and may be lost.
   */
  async send(commands: readonly Command[]): Promise<unknown[]> {
    const replies = await Promise.all(commands.map((command) => this.#client.sendCommand(command)))
    if (this.#replicas === 0) return replies
    const last = new Map<Connection | undefined, Command>()
    for (const command of commands) last.set(connectionOf(command), command)
    await Promise.all([...last].map((each) => this.#acknowledge(...each)))
    return replies
  }

  /** On the same connection, of whose writes Redis counts the replicas that have them. */
  async #acknowledge(connection: Connection | undefined, written: Command): Promise<void> {
    const wait = createCommand('wait', this.#replicas, ACKNOWLEDGE_MS)
    const node = this.#client instanceof Cluster ? { slot: written.getSlot() } : undefined
    const count = Number(await this.#client.sendCommand(wait, undefined, node))
    if (count >= this.#replicas && connection !== undefined && connectionOf(wait) === connection) return
    throw new UnavailableError('redis', new Error(`${this.#replicas} replicas have not acknowledged in time`))
  }
}
