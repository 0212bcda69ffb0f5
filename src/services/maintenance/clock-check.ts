import type { Logger } from 'pino'

export interface ClockCheckDeps {
  /** Returns the milliseconds by which this machine's clock is ahead of the database's; negative if it is behind. */
  readonly readSkew: () => Promise<number>
  readonly log: Logger
}

/** The clocks of this machine and of the database differ too much to delete what has expired. */
export class ClockSkewError extends Error {
  override readonly name = 'ClockSkewError'
}

/** Maximum difference between the two clocks, in milliseconds. */
const MAX_SKEW_MS = 60_000

/**
 * Compares this machine's clock with the database's. It cannot be known which of them is wrong: if they differ too much,
 * nothing is deleted.
 */
export class ClockCheck {
  readonly #deps: ClockCheckDeps

  constructor(deps: ClockCheckDeps) {
    this.#deps = deps
  }

  /**
   * @returns The milliseconds by which this machine's clock is ahead; 0 if it is behind.
   * @throws {ClockSkewError} It is also logged.
   * @throws {UnavailableError}
   */
  async requireAgreement(): Promise<number> {
    const skewMs = await this.#deps.readSkew()
    if (Math.abs(skewMs) <= MAX_SKEW_MS) return Math.max(0, skewMs)
    const skewSeconds = Math.round(skewMs / 1_000)
    this.#deps.log.error({ skewSeconds }, 'the clock differs from that of PostgreSQL: nothing was deleted')
    throw new ClockSkewError(
      `The clock of this machine is ${Math.abs(skewSeconds)} s ${skewMs > 0 ? 'ahead of' : 'behind'} that of PostgreSQL, so nothing was deleted: set both to the right time. They may differ by ${MAX_SKEW_MS / 1_000} s.`,
    )
  }
}
