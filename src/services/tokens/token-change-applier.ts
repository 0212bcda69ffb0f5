import { earlier, secondsUntil } from '../../domain/lifetime.ts'
import { intersect, isSameScopes } from '../../domain/scope.ts'
import type { TokenData, TokenKey } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { slicesOf } from '../../lib/slices.ts'
import type { HeldToken } from '../../stores/database/current-token.ts'
import type { TokenDatabase } from '../../stores/database/token-database.ts'
import type { TokenRecord, TokenStore } from '../../stores/token-store/token-store.ts'
import { ChangedMeanwhileError } from '../../stores/unavailable.ts'

/**
 * How a record follows its row: `row`, it gets what the row says; `narrow`, it keeps only what the row says too;
 * `keep`, it stays as it is.
 */
export type Follow = 'row' | 'narrow' | 'keep'

/** A token whose record is to follow its row. */
export interface DecidedChange {
  readonly key: TokenKey
  readonly scopes: Follow
  readonly expiresAt: Follow
}

export interface TokenChangeApplierDeps {
  readonly tokens: TokenStore
  readonly database: Pick<TokenDatabase, 'findGrants'>
  readonly clock: Clock
}

type Grant = Pick<TokenData, 'scopes' | 'expiresAt'>

/** Records brought in line at a time. */
const RECORD_BATCH_SIZE = 100

/** How often a record is read again that somebody else changes at the same time. */
const MAX_TRIES = 5

/**
 * Brings records of the token store in line with what PostgreSQL has decided. Takes no locks, and can be done again, by
 * several processes at once and however late.
 *
 * A record is read before its row, and replaced only while it is the one that was read. So what an earlier decision
 * has written, or is still to write, is never the last word: whoever decides something later writes the record once more
 * after that, even where it need not change, and the earlier write then finds another record than it has read.
 */
export class TokenChangeApplier {
  readonly #deps: TokenChangeApplierDeps

  constructor(deps: TokenChangeApplierDeps) {
    this.#deps = deps
  }

  /**
   * Deletes the records of tokens whose rows are gone, and has the others follow their rows. No record is made where
   * there is none.
   *
   * @param changes Of committed tokens; done in this order, some at a time.
   * @throws {UnavailableError} Some may be done: all can be done again.
   */
  async apply(changes: readonly DecidedChange[]): Promise<void> {
    for (const slice of slicesOf(changes, RECORD_BATCH_SIZE)) {
      let due = slice
      for (let tries = 1; due.length > 0; tries += 1) due = await this.#applySlice(due, tries)
    }
  }

  /** Answers with those to be done again, since their records have changed meanwhile. */
  async #applySlice(changes: readonly DecidedChange[], tries: number): Promise<readonly DecidedChange[]> {
    const { tokens, database } = this.#deps
    const entries = await Promise.all(changes.map(({ key }) => tokens.findRecord(key)))
    // After the records: a decision that this does not see is followed by a write that sees it.
    const rows = await database.findGrants(changes.map(({ key }) => key))
    const work = changes.map(async (change, index) => {
      const entry = entries[index]
      if (entry) await this.#follow(change, entry, rows.get(change.key))
    })
    const outcomes = await Promise.allSettled(work)
    const again: DecidedChange[] = []
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome.status === 'fulfilled') continue
      const change = changes[index]
      if (!change || tries >= MAX_TRIES || !(outcome.reason instanceof ChangedMeanwhileError))
        throw outcome.reason
      again.push(change)
    }
    return again
  }

  async #follow(change: DecidedChange, entry: TokenRecord, row: HeldToken | undefined): Promise<void> {
    const { tokens, clock } = this.#deps
    if (!row) return tokens.delete([change.key])
    const wanted = followed(entry.data, row, change)
    const isFirm = change.scopes === 'row' || change.expiresAt === 'row'
    if (!isFirm && isSameGrant(wanted, entry.data)) return
    // In its last second a token counts as ended: it may be so before it is written.
    if (secondsUntil(wanted.expiresAt, clock.now()) <= 1) return tokens.delete([change.key])
    await tokens.replace(entry, { ...entry.data, ...wanted })
  }
}

const followed = (data: Grant, row: Grant, change: DecidedChange): Grant => ({
  scopes: { row: row.scopes, narrow: intersect(data.scopes, row.scopes), keep: data.scopes }[change.scopes],
  expiresAt: { row: row.expiresAt, narrow: earlier(data.expiresAt, row.expiresAt), keep: data.expiresAt }[
    change.expiresAt
  ],
})

const isSameGrant = (left: Grant, right: Grant): boolean =>
  isSameScopes(left.scopes, right.scopes) && left.expiresAt?.getTime() === right.expiresAt?.getTime()
