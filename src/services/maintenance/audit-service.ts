import {
  type AuditedRow,
  auditHistoryIds,
  auditRow,
  auditStray,
  type Finding,
  type StoredRecord,
} from '../../domain/audit.ts'
import type { KnownScopes } from '../../domain/scope.ts'
import type { TokenData, TokenKey } from '../../domain/token.ts'
import { type Clock, floorToSecond } from '../../lib/clock.ts'
import { slicesOf } from '../../lib/slices.ts'
import type { AuditDatabase } from '../../stores/database/audit-database.ts'
import type { TokenDatabase } from '../../stores/database/token-database.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import { AuditRepair } from './audit-repair.ts'
import type { ClockCheck } from './clock-check.ts'
import type { EncryptionKeyCheck } from './encryption-key-check.ts'

export interface AuditServiceDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly audit: AuditDatabase
  readonly keys: EncryptionKeyCheck
  readonly clocks: ClockCheck
  readonly clock: Clock
  readonly knownScopes: KnownScopes
}

export interface AuditOptions {
  /** Whether to fix what can be fixed. */
  readonly fix: boolean
  /** Whether to delete records that cannot be read too, and what depends on them. */
  readonly deleteUnreadable?: boolean
  /** Called with the number of rows and records that are checked so far. */
  readonly onProgress?: (done: number) => void
}

/** A finding, and whether it is fixed. */
export interface AuditedFinding extends Finding {
  readonly isFixed: boolean
}

/** Rows that one query reads: the audit's memory does not grow with the number of tokens. */
const ROW_BATCH_SIZE = 1_000

/** Rows with findings that one transaction holds. */
const LOCK_BATCH_SIZE = 100

/**
 * Age from which a record without a row, and an edit that has not reached its record, are findings, in milliseconds: several
 * times the maximum time of a creation or an edit.
 */
const SETTLED_MS = 60_000

/**
 * Time for which a record may outlast its expiry and its row, in milliseconds: PostgreSQL keeps it until maintenance deletes
 * it, which a server runs every hour.
 */
const MAX_UNSWEPT_MS = 2 * 60 * 60_000

/**
 * Finds every disagreement between the two stores. Tokens are issued and revoked meanwhile, so each finding is confirmed
 * with its row held before it is reported or fixed. Every fix can be repeated, so that a killed audit can be run again.
 */
export class AuditService {
  readonly #deps: AuditServiceDeps
  /** Milliseconds by which this machine's clock is ahead of the database's: an audit that fixes uses the database's time. */
  #aheadMs = 0

  constructor(deps: AuditServiceDeps) {
    this.#deps = deps
  }

  /**
   * Checks all rows, and then the records that have no row.
   *
   * @throws {Error} Nothing is fixed: the encryption keys are not those of the token store.
   * @throws {ClockSkewError} Nothing is fixed.
   * @throws {UnavailableError}
   */
  async *run(options: AuditOptions): AsyncGenerator<AuditedFinding> {
    const { audit, tokens } = this.#deps
    const { fix, onProgress = () => undefined } = options
    if (fix) await this.#deps.keys.requireForRepair()
    this.#aheadMs = fix ? await this.#deps.clocks.requireAgreement() : 0
    const ids = await audit.historyIds()
    if (ids) yield* auditHistoryIds(ids).map((finding) => ({ ...finding, isFixed: false }))
    let done = 0
    for await (const rows of audit.rows(ROW_BATCH_SIZE)) {
      const suspects = await this.#suspectRows(rows)
      for (const slice of slicesOf(suspects, LOCK_BATCH_SIZE)) yield* await this.#confirmRows(slice, options)
      done += rows.length
      onProgress(done)
    }
    for await (const keys of tokens.scan()) {
      const strays = await this.#strays(keys)
      // Checked twice: a creation or a revocation may have reached only one of the stores.
      if (strays.size > 0) yield* await this.#confirmStrays(await this.#strays([...strays.keys()]), options)
      done += keys.length
      onProgress(done)
    }
  }

  async #suspectRows(rows: readonly AuditedRow[]): Promise<TokenKey[]> {
    const keys = rows.map(({ key }) => key)
    const records = await this.#deps.tokens.inspect(keys)
    return rows.filter((row) => this.#audit(row, records.get(row.key)).length > 0).map(({ key }) => key)
  }

  /** Checks again with the rows held: a creation or a revocation has then reached both stores. */
  #confirmRows(
    keys: readonly TokenKey[],
    { fix, deleteUnreadable = false }: AuditOptions,
  ): Promise<AuditedFinding[]> {
    return this.#deps.database.changeTrees(async (tx) => {
      const held = new Map((await tx.lockAll(keys)).map((token) => [token.key, token]))
      const rows = await this.#deps.audit.find([...held.keys()])
      const records = await this.#deps.tokens.inspect([...held.keys()])
      // An edit reaches the token store after its commit, when the row is no longer held.
      const settled = new Date(this.#now().getTime() - SETTLED_MS)
      const edited = await this.#deps.audit.editedSince([...held.keys()], settled)
      const suspects = rows.flatMap((row) => {
        const [token, record] = [held.get(row.key), records.get(row.key)]
        const findings = this.#audit(row, record).filter(
          ({ kind }) => kind !== 'mismatch' || !edited.has(row.key),
        )
        return token ? [{ token, row, record, findings }] : []
      })
      const repair = new AuditRepair(this.#deps.tokens, tx, { now: this.#now(), deleteUnreadable })
      const ended = fix ? await repair.fix(suspects) : new Set<TokenKey>()
      return suspects.flatMap(({ token, record, findings }) =>
        findings.map((finding) => ({
          ...finding,
          isFixed: fix && (ended.has(token.key) || repair.isFixed(finding, record)),
        })),
      )
    })
  }

  /** Returns those of `keys` that have a record and no row, and are neither new nor expired recently. */
  async #strays(keys: readonly TokenKey[]): Promise<ReadonlyMap<TokenKey, StoredRecord>> {
    const rows = new Set((await this.#deps.audit.find(keys)).map(({ key }) => key))
    const strays = new Map(await this.#deps.tokens.inspect(keys.filter((key) => !rows.has(key))))
    for (const [key, record] of strays) {
      if ('data' in record && !this.#isStray(record.data)) strays.delete(key)
    }
    return strays
  }

  #isStray({ createdAt, expiresAt }: TokenData): boolean {
    const now = this.#now().getTime()
    const isCommitted = now - createdAt.getTime() >= SETTLED_MS
    const isUnswept =
      expiresAt !== null && expiresAt.getTime() <= now && now - expiresAt.getTime() < MAX_UNSWEPT_MS
    return isCommitted && !isUnswept
  }

  async #confirmStrays(
    strays: ReadonlyMap<TokenKey, StoredRecord>,
    { fix, deleteUnreadable = false }: AuditOptions,
  ): Promise<AuditedFinding[]> {
    const isDeleted = (record: StoredRecord) => fix && (deleteUnreadable || 'data' in record)
    await this.#deps.tokens.delete([...strays].filter(([, record]) => isDeleted(record)).map(([key]) => key))
    return [...strays].flatMap(([key, record]) =>
      auditStray(key, record, this.#deps.knownScopes).map((finding) => ({
        ...finding,
        isFixed: isDeleted(record),
      })),
    )
  }

  #audit(row: AuditedRow, record: StoredRecord | undefined): Finding[] {
    return auditRow(row, record, this.#deps.knownScopes, this.#now())
  }

  #now(): Date {
    return floorToSecond(new Date(this.#deps.clock.now().getTime() - this.#aheadMs))
  }
}
