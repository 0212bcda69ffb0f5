import type { Logger } from 'pino'
import { isExpired, type TokenData, type TokenKey } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { type Fernet, FernetError, ForeignTokenError } from '../../lib/fernet.ts'
import { DamagedRecordError, decodeRecord, encodeRecord } from './token-record.ts'
import type { StoredRecord, TokenRecord } from './token-store.ts'

/** Encrypts and decrypts the records of a token store, in the format that all its implementations share. */
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
   * Returns the valid token in the record that is stored under `key`; `undefined` if there is no record, or it is empty,
   * damaged (which is logged) or expired. Expiry is in the record: a store may lose its TTL.
   */
  decrypt(key: TokenKey, encrypted: string | null | undefined): TokenData | undefined {
    const record = this.inspect(key, encrypted)
    if (!record) return undefined
    if ('data' in record) return isExpired(record.data, this.#clock.now()) ? undefined : record.data
    this.#log.error({ tokenKey: key, reason: record.fault }, 'token store record is damaged')
    return undefined
  }

  /** Returns the same as `decrypt`, with the encrypted record. */
  decryptRecord(key: TokenKey, encrypted: string | null | undefined): TokenRecord | undefined {
    const data = this.decrypt(key, encrypted)
    return data && encrypted ? { data, encrypted } : undefined
  }

  /** Like `decrypt`, but returns expired tokens too, and a damaged record with the reason instead of logging it. */
  inspect(key: TokenKey, encrypted: string | null | undefined): StoredRecord | undefined {
    if (!encrypted) return undefined
    try {
      return { data: this.#decrypt(key, encrypted) }
    } catch (error) {
      if (error instanceof ForeignTokenError) return { fault: error.message, encryptedAt: error.encryptedAt }
      if (error instanceof FernetError || error instanceof DamagedRecordError) return { fault: error.message }
      throw error
    }
  }

  /** Inspects many records, and returns those that exist, by key. */
  inspectAll(values: Iterable<readonly [TokenKey, string | null]>): ReadonlyMap<TokenKey, StoredRecord> {
    const records = new Map<TokenKey, StoredRecord>()
    for (const [key, encrypted] of values) {
      const record = this.inspect(key, encrypted)
      if (record) records.set(key, record)
    }
    return records
  }

  #decrypt(key: TokenKey, encrypted: string): TokenData {
    const data = decodeRecord(this.#fernet.decrypt(encrypted), this.#clock.now())
    if (data.token.key !== key) throw new DamagedRecordError('token.key: not the key it is stored under')
    return data
  }
}
