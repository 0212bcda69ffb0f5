import type { Logger } from 'pino'

export interface ClockCheckDeps {
  /** How far this machine's clock is ahead of the database's, in milliseconds. */
  readonly readSkew: () => Promise<number>
  readonly log: Logger
}

/** The clocks of this machine and of the database differ by more than they may where something is to be deleted. */
export class ClockSkewError extends Error {
  override readonly name = 'ClockSkewError'
}

/** How far the two clocks may be apart, in milliseconds. */
const MAX_SKEW_MS = 60_000

/**
 * Compares this machine's clock with the database's. Which of the two is wrong cannot be known: where they differ by
 * much, nothing is deleted that one of them says has expired.
 */
export class ClockCheck {
  readonly #deps: ClockCheckDeps

  constructor(deps: ClockCheckDeps) {
    this.#deps = deps
  }

  /**
   * @returns By how much this machine's clock is ahead, in milliseconds; 0 where it is behind.
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
