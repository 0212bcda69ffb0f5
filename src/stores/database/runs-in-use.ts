import { UnavailableError } from '../../domain/errors.ts'
import type { PrismaClient } from '../../generated/prisma/client.ts'

/** The database, or one of its transactions. */
type Queryable = Pick<PrismaClient, '$queryRaw'>

/** How often the run in use has changed until some moment. */
export type RunMark = number

/**
 * The runs of Redis that this process uses: one, unless it is changing from one to the next. A change of the token store
 * counts only if it was made in the run that began last, as the database says. An old master that was replaced
 * acknowledges changes too.
 */
export class RunsInUse {
  readonly #connections = new Map<string, number>()
  #isTracked = false
  #lastEntered: string | undefined
  #changes = 0

  /** Must be called if the token store is one Redis. The masters of a Redis Cluster are not tracked: each is a run. */
  track(): void {
    this.#isTracked = true
  }

  /** Must be called before the first command on a connection to this run. */
  enter(identity: string): void {
    this.#connections.set(identity, (this.#connections.get(identity) ?? 0) + 1)
    if (this.#lastEntered !== undefined && this.#lastEntered !== identity) this.#changes += 1
    this.#lastEntered = identity
  }

  /** Must be called when a connection to this run is closed. */
  leave(identity: string): void {
    const left = (this.#connections.get(identity) ?? 0) - 1
    if (left > 0) this.#connections.set(identity, left)
    else this.#connections.delete(identity)
  }

  /** Must be called before the first command whose effect `requireCurrent` is about. */
  mark(): RunMark {
    return this.#changes
  }

  /**
   * Checks that what this process has changed in the token store since `mark` is in the run of Redis that began last. To be
   * called after these changes, and before what depends on them is committed.
   *
   * @throws {UnavailableError} It may be missing there.
   */
  async requireCurrent(db: Queryable, mark: RunMark): Promise<void> {
    if (!this.#isTracked) return
    const newest = await findNewestRun(db)
    const isOnlyRun = this.#connections.size === 1 && this.#connections.has(newest ?? '')
    if (mark === this.#changes && isOnlyRun) return
    throw new UnavailableError('redis', new Error('another Redis is in use, which may lack the change'))
  }
}

/** Returns the identity of the run of Redis that began last. */
export async function findNewestRun(db: Queryable): Promise<string | undefined> {
  const [run] = await db.$queryRaw<{ identity: string }[]>`
    SELECT identity FROM porthor_redis_run ORDER BY began_at DESC, identity DESC LIMIT 1`
  return run?.identity
}
