import type { Logger } from 'pino'
import { isExpired, type TokenData, type TokenKey } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { type Fernet, FernetError, ForeignTokenError } from '../../lib/fernet.ts'
import { DamagedRecordError, decodeRecord, encodeRecord } from './token-record.ts'
import type { StoredRecord, TokenRecord } from './token-store.ts'

/** Seals and opens the values of a token store; the part that every implementation shares. */
export class EncryptedRecords {
  readonly #fernet: Fernet
  readonly #clock: Clock
  readonly #log: Logger

  constructor(deps: { readonly fernet: Fernet; readonly clock: Clock; readonly log: Logger }) {
    this.#fernet = deps.fernet
    this.#clock = deps.clock
    this.#log = deps.log
  }

  encrypt(data: TokenData): string {
    return this.#fernet.encrypt(encodeRecord(data), { now: this.#clock.now() })
  }

  /**
   * The live token in `sealed`, which was stored under `key`. An absent, empty, damaged or expired
   * record is `undefined`. Expiry is judged by the record and our clock: a store may lose a TTL.
   */
  decrypt(key: TokenKey, sealed: string | null | undefined): TokenData | undefined {
    const entry = this.inspect(key, sealed)
    if (!entry) return undefined
    if ('data' in entry) return isExpired(entry.data, this.#clock.now()) ? undefined : entry.data
    this.#log.error({ tokenKey: key, reason: entry.fault }, 'token store record is damaged')
    return undefined
  }

  /** As `open`, with the record itself. */
  decryptRecord(key: TokenKey, sealed: string | null | undefined): TokenRecord | undefined {
    const data = this.decrypt(key, sealed)
    return data && sealed ? { data, encrypted: sealed } : undefined
  }

  /** Like `open`, but expired tokens are returned, and damage is told and not logged. */
  inspect(key: TokenKey, sealed: string | null | undefined): StoredRecord | undefined {
    if (!sealed) return undefined
    try {
      return { data: this.#read(key, sealed) }
    } catch (error) {
      if (error instanceof ForeignTokenError) return { fault: error.message, encryptedAt: error.encryptedAt }
      if (error instanceof FernetError || error instanceof DamagedRecordError) return { fault: error.message }
      throw error
    }
  }

  /** `inspect` for many: those that are there, by key. */
  inspectAll(sealed: Iterable<readonly [TokenKey, string | null]>): ReadonlyMap<TokenKey, StoredRecord> {
    const entries = new Map<TokenKey, StoredRecord>()
    for (const [key, value] of sealed) {
      const entry = this.inspect(key, value)
      if (entry) entries.set(key, entry)
    }
    return entries
  }

  #read(key: TokenKey, sealed: string): TokenData {
    const data = decodeRecord(this.#fernet.decrypt(sealed), this.#clock.now())
    if (data.token.key !== key) throw new DamagedRecordError('token.key: not the key it is stored under')
    return data
  }
}
