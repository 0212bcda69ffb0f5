import type { StoredRecord } from '../../domain/audit.ts'
import type { TokenData, TokenKey } from '../../domain/token.ts'

export type { StoredRecord } from '../../domain/audit.ts'

/** A live token, and the record that it was read from. */
export interface TokenRecord {
  readonly data: TokenData
  /** As it is stored: every time that a token is written, its record is another. */
  readonly encrypted: string
}

/**
 * What decides whether a token is valid. Every method may throw `UnavailableError`: no answer in time
 * means that nothing is known, not that there is no such token.
 */
export interface TokenStore {
  /**
   * The live token under `key`, or `undefined` when there is none, it has expired, or its record is
   * damaged (which is logged). Looks by key alone: whoever presents a token must also know its secret.
   *
   * @param options.isFresh Ask the store itself, even where there is a copy that is kept up to date:
   *   word of a change takes a moment, which a lock on the token's row does not wait for.
   */
  find(key: TokenKey, options?: { readonly isFresh?: boolean }): Promise<TokenData | undefined>
  /**
   * The live token under `key`, without waiting, where there is a copy of it that is kept up to date;
   * `undefined` says nothing. Only a store that keeps copies has this.
   */
  findCopy?(key: TokenKey): TokenData | undefined
  /** Keeps a new token until it expires. Rejects one that has expired. */
  put(data: TokenData): Promise<void>
  /** As `get`, of the store itself, for `replace`. */
  findRecord(key: TokenKey): Promise<TokenRecord | undefined>
  /**
   * Writes `data` in place of an entry that was read, of the same token. A write that is held up on its way
   * may arrive when the token has been changed again, or revoked: it then does nothing.
   *
   * @throws {UnavailableError} also when there is another entry by now, or none.
   */
  replace(entry: TokenRecord, data: TokenData): Promise<void>
  /** Forgets every key of `keys`; those that are not there are no error. */
  delete(keys: readonly TokenKey[]): Promise<void>
  /** Keys of all entries, in batches and in no order. One that changes meanwhile may come twice or not at all. */
  scan(): AsyncIterable<readonly TokenKey[]>
  /** What is stored under those of `keys` that have an entry: also what has expired, or is damaged. */
  inspect(keys: readonly TokenKey[]): Promise<ReadonlyMap<TokenKey, StoredRecord>>
  /** Removes what has expired, where the store does not do so by itself. Answers how many. */
  sweep(): Promise<number>
  /** Resolves when the store answers. */
  ping(): Promise<void>
}
