import type { Logger } from 'pino'
import type { Clock } from '../lib/clock.ts'
import type { TokenStore } from '../stores/token-store.ts'

export interface KeyCheckDeps {
  readonly tokens: TokenStore
  readonly clock: Clock
  readonly log: Logger
}

/** Records that others have sealed since the last one that we can open: one may be anybody's. */
const MANY = 2

/**
 * Whether this process has the keys of those who write the token store. A record without its key counts as
 * damaged, and its token as unknown: with wrong keys every token does.
 */
export class KeyCheck {
  readonly #deps: KeyCheckDeps

  constructor(deps: KeyCheckDeps) {
    this.#deps = deps
  }

  /**
   * Logs an error where no record can be opened.
   *
   * @throws {UnavailableError}
   */
  async warn(): Promise<void> {
    if (await this.#opensNone()) {
      this.#deps.log.error(
        'no record of the token store can be opened with a key of SESSION_SECRET: no token of before is accepted',
      )
    }
  }

  /**
   * For whoever is about to write a record.
   *
   * @throws {Error} No record can be opened.
   * @throws {UnavailableError}
   */
  async requireRight(): Promise<void> {
    if (await this.#opensNone()) {
      throw new Error(
        `${OPENS_NONE}, so nothing was made: ${ADVICE}; or, where they were changed on purpose, make the first token by the API.`,
      )
    }
  }

  /**
   * For whoever is about to delete what cannot be opened: looks at every record.
   *
   * @throws {Error} No record can be opened, or several were sealed with another key since the last that can.
   * @throws {UnavailableError}
   */
  async requireCurrent(): Promise<void> {
    if (await this.#opensNone()) throw new Error(`${OPENS_NONE}, so nothing was mended: ${ADVICE}.`)
    const now = this.#deps.clock.now().getTime()
    let lastOwn = 0
    let newestForeign: number[] = []
    for await (const entry of this.#entries()) {
      if ('data' in entry) lastOwn = Math.max(lastOwn, entry.data.createdAt.getTime())
      // Nobody vouches for this time: what comes from the future would seem newer for ever.
      else if (entry.sealedAt && entry.sealedAt.getTime() <= now) {
        newestForeign = [...newestForeign, entry.sealedAt.getTime()].sort((a, b) => b - a).slice(0, MANY)
      }
    }
    if (newestForeign.filter((sealedAt) => sealedAt > lastOwn).length < MANY) return
    throw new Error(
      `The newest records of the token store were sealed with a key that SESSION_SECRET has not got, so nothing was mended: ${ADVICE}.`,
    )
  }

  /** Looks until one is found that can be opened: mostly that is the first. */
  async #opensNone(): Promise<boolean> {
    let areForeign = false
    for await (const entry of this.#entries()) {
      if ('data' in entry) return false
      areForeign ||= entry.sealedAt !== undefined
    }
    return areForeign
  }

  async *#entries() {
    const { tokens } = this.#deps
    for await (const keys of tokens.scan()) yield* (await tokens.inspect(keys)).values()
  }
}

const OPENS_NONE = 'No record of the token store can be opened with a key of SESSION_SECRET'
const ADVICE = 'set the keys of the server'
