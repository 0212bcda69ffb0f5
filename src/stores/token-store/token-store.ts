import type { StoredRecord } from '../../domain/audit.ts'
import type { TokenData, TokenKey } from '../../domain/token.ts'

export type { StoredRecord } from '../../domain/audit.ts'

/** A valid token, and the record that it was read from. */
export interface TokenRecord {
  readonly data: TokenData
  /** The stored value: it differs each time that the token is written, since encryption is random. */
  readonly encrypted: string
}

/**
 * The store that decides whether a token is valid. Every method may throw `UnavailableError`: without a response in time it
 * is unknown whether there is such a token.
 */
export interface TokenStore {
  /**
   * Returns the valid token with this key; `undefined` if there is no record, it has expired, or it is damaged (which is
   * logged). Does not check the secret: the caller must.
   *
   * @param options.isFresh Read from the store itself and not from the client-side cache: an invalidation takes a moment, and
   *   a lock on the token's row does not wait for it.
   */
  find(key: TokenKey, options?: { readonly isFresh?: boolean }): Promise<TokenData | undefined>
  /**
   * Returns the valid token with this key if it is in the client-side cache. `undefined` does not mean that there is no such
   * token. Only a store with a cache has this method.
   */
  findCopy?(key: TokenKey): TokenData | undefined
  /** Keeps a new token until it expires. Rejects one that has expired. */
  put(data: TokenData): Promise<void>
  /** Like `find` with `isFresh`, with the record for `replace`. */
  findRecord(key: TokenKey): Promise<TokenRecord | undefined>
  /**
   * Writes `data` if the record of the token is still `record`. A delayed write may arrive after the token has been changed
   * again or revoked: it then has no effect.
   *
   * @throws {UnavailableError} Also if there is another record by now, or no record.
   */
  replace(record: TokenRecord, data: TokenData): Promise<void>
  /** Deletes the records of `keys`. A missing record is no error. */
  delete(keys: readonly TokenKey[]): Promise<void>
  /** Yields the keys of all records, in batches and in no order. A record that changes meanwhile may come twice or not at all. */
  scan(): AsyncIterable<readonly TokenKey[]>
  /** Returns the records that exist of `keys`, including expired and damaged ones. */
  inspect(keys: readonly TokenKey[]): Promise<ReadonlyMap<TokenKey, StoredRecord>>
  /** Deletes expired records if the store does not do so by itself. Returns their number. */
  sweep(): Promise<number>
  /** Resolves when the store responds. */
  ping(): Promise<void>
}
