import type { Actor } from '../../domain/actor.ts'
import { actorName } from '../../domain/actor.ts'
import { UnavailableError } from '../../domain/errors.ts'
import type { TokenData } from '../../domain/token.ts'
import { systemClock } from '../../lib/clock.ts'
import { KeyedSemaphore } from '../../lib/keyed-semaphore.ts'

/** Maximum time that a write waits for other writes with its current token or of its user, in milliseconds. */
export const MAX_WAIT_MS = 5_000

/** Concurrent writes with one current token: a flood of requests with one token leaves connections to the others. */
const MAX_WRITES_PER_TOKEN = 4

/** Concurrent writes of one user: a user may have any number of tokens. */
const MAX_WRITES_PER_USER = 8

/** Whose write it is. */
export interface Writer {
  readonly token: string
  readonly user: string
}

export const writerOfToken = ({ token, username }: TokenData): Writer => ({
  token: token.key,
  user: username,
})

export const writerOf = (actor: Actor): Writer =>
  actor.kind === 'token' ? writerOfToken(actor.data) : { token: actorName(actor), user: actorName(actor) }

const createTimeoutError = (): Error =>
  new UnavailableError('postgres', new Error('waited too long for other writes of the same token or user'))

/**
 * Limits concurrent writes: those with one current token, and of these those of one user. A write waits before it takes a
 * connection. Writes of different users never wait for each other.
 */
export class WriteLimit {
  readonly #tokens = new KeyedSemaphore({ maxRunning: MAX_WRITES_PER_TOKEN, createTimeoutError })
  readonly #users = new KeyedSemaphore({ maxRunning: MAX_WRITES_PER_USER, createTimeoutError })

  /**
   * Runs `work` when the limits allow it.
   *
   * @throws {UnavailableError} It would have waited longer than `MAX_WAIT_MS`. `work` was not run.
   */
  run<T>({ token, user }: Writer, work: () => Promise<T>): Promise<T> {
    const deadline = systemClock.monotonicMs() + MAX_WAIT_MS
    // First the token: requests that wait for a place of their token take none of the user's other tokens.
    const runOfUser = () => this.#users.run(user, deadline - systemClock.monotonicMs(), work)
    return this.#tokens.run(token, MAX_WAIT_MS, runOfUser)
  }
}
