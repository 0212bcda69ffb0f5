import type { Logger } from 'pino'
import type { Clock } from '../../lib/clock.ts'
import { slicesOf } from '../../lib/slices.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'

export interface EncryptionKeyCheckDeps {
  readonly tokens: TokenStore
  readonly clock: Clock
  readonly log: Logger
}

/**
 * Number of records with another encryption key, newer than all readable ones, from which this process counts as having old
 * keys. A single one may come from another program.
 */
const MIN_FOREIGN_RECORDS = 2

/** Records that are decrypted without a pause: a server responds to requests in between. */
const RECORD_BATCH_SIZE = 100

/**
 * Checks that this process has the encryption keys of the programs that write the token store. A record without its key
 * counts as damaged, and its token as unknown: with wrong keys every token is unknown.
 */
export class EncryptionKeyCheck {
  readonly #deps: EncryptionKeyCheckDeps

  constructor(deps: EncryptionKeyCheckDeps) {
    this.#deps = deps
  }

  /**
   * Logs an error with the number of records that no encryption key decrypts, if there are any. Reads every record.
   *
   * @throws {UnavailableError}
   */
  async warn(): Promise<void> {
    let records = 0
    let unreadable = 0
    for await (const record of this.#records()) {
      records += 1
      if ('fault' in record && record.encryptedAt) unreadable += 1
    }
    if (unreadable === 0) return
    this.#deps.log.error(
      { unreadable, records },
      'records of the token store cannot be read with the keys of SESSION_SECRET: their tokens are not accepted',
    )
  }

  /**
   * Checks the keys before a server starts.
   *
   * @throws {Error} No record can be decrypted, so that no existing token would be accepted.
   * @throws {UnavailableError}
   */
  async requireForStart(): Promise<void> {
    if (await this.#decryptsNone()) {
      throw new Error(
        `${NONE_DECRYPTED}, so no existing token would be accepted: set the keys that its records were written with. If these are lost, empty the token store: see "Encryption keys" in docs/guides/operations.md.`,
      )
    }
  }

  /**
   * Checks the keys before a command writes a record.
   *
   * @throws {Error} No record can be decrypted.
   * @throws {UnavailableError}
   */
  async requireForWrite(): Promise<void> {
    if (await this.#decryptsNone()) {
      throw new Error(
        `${NONE_DECRYPTED}, so nothing was created: ${ADVICE}. If these are lost, empty the token store first.`,
      )
    }
  }

  /**
   * Checks the keys before an audit deletes records. Reads every record.
   *
   * @throws {Error} No record can be decrypted, or several newer ones are encrypted with another key.
   * @throws {UnavailableError}
   */
  async requireForRepair(): Promise<void> {
    if (await this.#decryptsNone()) throw new Error(`${NONE_DECRYPTED}, so nothing was fixed: ${ADVICE}.`)
    const now = this.#deps.clock.now().getTime()
    let lastOwn = 0
    let newestForeign: number[] = []
    for await (const record of this.#records()) {
      if ('data' in record) lastOwn = Math.max(lastOwn, record.data.createdAt.getTime())
      // This time is not authenticated: a time in the future would always be the newest.
      else if (record.encryptedAt && record.encryptedAt.getTime() <= now) {
        newestForeign = [...newestForeign, record.encryptedAt.getTime()]
          .sort((a, b) => b - a)
          .slice(0, MIN_FOREIGN_RECORDS)
      }
    }
    if (newestForeign.filter((encryptedAt) => encryptedAt > lastOwn).length < MIN_FOREIGN_RECORDS) return
    throw new Error(
      `The newest records of the token store were encrypted with a key that SESSION_SECRET does not have, so nothing was fixed: ${ADVICE}.`,
    )
  }

  /** Reads records until one can be decrypted: usually the first one. */
  async #decryptsNone(): Promise<boolean> {
    let areForeign = false
    for await (const record of this.#records()) {
      if ('data' in record) return false
      areForeign ||= record.encryptedAt !== undefined
    }
    return areForeign
  }

  async *#records() {
    const { tokens } = this.#deps
    for await (const keys of tokens.scan()) {
      for (const slice of slicesOf(keys, RECORD_BATCH_SIZE)) yield* (await tokens.inspect(slice)).values()
    }
  }
}

const NONE_DECRYPTED = 'No record of the token store can be read with a key of SESSION_SECRET'
const ADVICE = 'set the keys of the server'
