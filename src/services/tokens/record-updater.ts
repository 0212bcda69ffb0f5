import { commonGrant, type Grant, isSameGrant } from '../../domain/grant.ts'
import { secondsUntil } from '../../domain/lifetime.ts'
import type { TokenKey } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { slicesOf } from '../../lib/slices.ts'
import type { HeldToken } from '../../stores/database/current-token.ts'
import type { TokenDatabase } from '../../stores/database/token-database.ts'
import type { TokenRecord, TokenStore } from '../../stores/token-store/token-store.ts'
import { ChangedMeanwhileError } from '../../stores/unavailable.ts'

/**
 * How a record follows its row: `row` takes the value of the row; `narrow` keeps what the row has too; `keep` changes
 * nothing.
 */
export type Follow = 'row' | 'narrow' | 'keep'

/** A token whose record must follow its row. */
export interface RecordUpdate {
  readonly key: TokenKey
  readonly scopes: Follow
  readonly expiresAt: Follow
}

export interface RecordUpdaterDeps {
  readonly tokens: TokenStore
  readonly database: Pick<TokenDatabase, 'findGrants'>
  readonly clock: Clock
}

/** Records that are changed at the same time. */
const RECORD_BATCH_SIZE = 100

/** Maximum number of reads of a record that others change at the same time. */
const MAX_TRIES = 5

/**
 * Applies to the records of the token store what PostgreSQL has decided. It takes no locks, and can be repeated, also by
 * several processes at once and at any later time.
 *
 * A record is read before its row, and replaced only if it is still the record that was read. So no earlier decision
 * overwrites a later one: the later one writes the record even if its values stay the same, and the earlier write then
 * finds another record than it has read.
 */
export class RecordUpdater {
  readonly #deps: RecordUpdaterDeps

  constructor(deps: RecordUpdaterDeps) {
    this.#deps = deps
  }

  /**
   * Deletes the records of tokens whose rows are deleted, and changes the other records after their rows. Creates no
   * record.
   *
   * @param changes Changes of committed tokens, applied in this order, in batches.
   * @throws {UnavailableError} Some changes may be applied: all can be applied again.
   */
  async update(changes: readonly RecordUpdate[]): Promise<void> {
    for (const slice of slicesOf(changes, RECORD_BATCH_SIZE)) {
      let due = slice
      for (let tries = 1; due.length > 0; tries += 1) due = await this.#updateSlice(due, tries)
    }
  }

  /** Returns the changes to apply again: their records have changed meanwhile. */
  async #updateSlice(changes: readonly RecordUpdate[], tries: number): Promise<readonly RecordUpdate[]> {
    const { tokens, database } = this.#deps
    const records = await Promise.all(changes.map(({ key }) => tokens.findRecord(key)))
    // Read after the records: whoever decides something that is not in these rows writes the record later.
    const rows = await database.findGrants(changes.map(({ key }) => key))
    const work = changes.map(async (change, index) => {
      const record = records[index]
      if (record) await this.#follow(change, record, rows.get(change.key))
    })
    const outcomes = await Promise.allSettled(work)
    const again: RecordUpdate[] = []
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome.status === 'fulfilled') continue
      const change = changes[index]
      if (!change || tries >= MAX_TRIES || !(outcome.reason instanceof ChangedMeanwhileError))
        throw outcome.reason
      again.push(change)
    }
    return again
  }

  async #follow(change: RecordUpdate, record: TokenRecord, row: HeldToken | undefined): Promise<void> {
    const { tokens, clock } = this.#deps
    if (!row) return tokens.delete([change.key])
    const grant = followedGrant(record.data, row, change)
    const isEditedToken = change.scopes === 'row' || change.expiresAt === 'row'
    if (!isEditedToken && isSameGrant(grant, record.data)) return
    // In its last second a token counts as expired: it may have expired before its record is written.
    if (secondsUntil(grant.expiresAt, clock.now()) <= 1) return tokens.delete([change.key])
    await tokens.replace(record, { ...record.data, ...grant })
  }
}

function followedGrant(record: Grant, row: Grant, { scopes, expiresAt }: RecordUpdate): Grant {
  const grants = { row, narrow: commonGrant(record, row), keep: record }
  return { scopes: grants[scopes].scopes, expiresAt: grants[expiresAt].expiresAt }
}
