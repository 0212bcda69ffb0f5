import type { Logger } from 'pino'
import type { Clock } from '../../lib/clock.ts'
import { slicesOf } from '../../lib/slices.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'

export interface EncryptionKeyCheckDeps {
  readonly tokens: TokenStore
  readonly clock: Clock
  readonly log: Logger
}

/** Records that others have sealed since the last one that we can open: one may be anybody's. */
const MANY = 2

const DECRYPTED_AT_A_TIME = 100

/**
 * Whether this process has the keys of those who write the token store. A record without its key counts as
 * damaged, and its token as unknown: with wrong keys every token does.
 */
export class EncryptionKeyCheck {
  readonly #deps: EncryptionKeyCheckDeps

  constructor(deps: EncryptionKeyCheckDeps) {
    this.#deps = deps
  }

  /**
   * Logs an error with the number of records that no encryption key opens, where there are any. Looks at every record.
   *
   * @throws {UnavailableError}
   */
  async warn(): Promise<void> {
    let records = 0
    let unreadable = 0
    for await (const entry of this.#entries()) {
      records += 1
      if ('fault' in entry && entry.encryptedAt) unreadable += 1
    }
    if (unreadable === 0) return
    this.#deps.log.error(
      { unreadable, records },
      'records of the token store cannot be read with the keys of SESSION_SECRET: their tokens are not accepted',
    )
  }

  /**
   * For a server that is about to start.
   *
   * @throws {Error} No record can be read, so that no token would be accepted that was issued before.
   * @throws {UnavailableError}
   */
  async requireForStart(): Promise<void> {
    if (await this.#decryptsNone()) {
      throw new Error(
        `${OPENS_NONE}, so no token of before would be accepted: set the keys that its records were written with. Where these are lost, empty the token store: see "Encryption keys" in docs/guides/operations.md.`,
      )
    }
  }

  /**
   * For whoever is about to write a record.
   *
   * @throws {Error} No record can be opened.
   * @throws {UnavailableError}
   */
  async requireForWrite(): Promise<void> {
    if (await this.#decryptsNone()) {
      throw new Error(
        `${OPENS_NONE}, so nothing was made: ${ADVICE}; or, where these are lost, empty the token store first.`,
      )
    }
  }

  /**
   * For whoever is about to delete what cannot be opened: looks at every record.
   *
   * @throws {Error} No record can be opened, or several were sealed with another key since the last that can.
   * @throws {UnavailableError}
   */
  async requireForRepair(): Promise<void> {
    if (await this.#decryptsNone()) throw new Error(`${OPENS_NONE}, so nothing was fixed: ${ADVICE}.`)
    const now = this.#deps.clock.now().getTime()
    let lastOwn = 0
    let newestForeign: number[] = []
    for await (const entry of this.#entries()) {
      if ('data' in entry) lastOwn = Math.max(lastOwn, entry.data.createdAt.getTime())
      // Nobody vouches for this time: what comes from the future would seem newer for ever.
      else if (entry.encryptedAt && entry.encryptedAt.getTime() <= now) {
        newestForeign = [...newestForeign, entry.encryptedAt.getTime()].sort((a, b) => b - a).slice(0, MANY)
      }
    }
    if (newestForeign.filter((sealedAt) => sealedAt > lastOwn).length < MANY) return
    throw new Error(
      `The newest records of the token store were encrypted with a key that SESSION_SECRET does not have, so nothing was fixed: ${ADVICE}.`,
    )
  }

  /** Looks until one is found that can be opened: mostly that is the first. */
  async #decryptsNone(): Promise<boolean> {
    let areForeign = false
    for await (const entry of this.#entries()) {
      if ('data' in entry) return false
      areForeign ||= entry.encryptedAt !== undefined
    }
    return areForeign
  }

  async *#entries() {
    const { tokens } = this.#deps
    for await (const keys of tokens.scan()) {
      // A few at a time: to decrypt many holds up the requests of a server.
      for (const slice of slicesOf(keys, DECRYPTED_AT_A_TIME)) yield* (await tokens.inspect(slice)).values()
    }
  }
}

const OPENS_NONE = 'No record of the token store can be read with a key of SESSION_SECRET'
const ADVICE = 'set the keys of the server'
