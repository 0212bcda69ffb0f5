import { type AuditedRow, auditHistoryIds, auditRow, auditStray, type Finding } from '../../domain/audit.ts'
import type { KnownScopes } from '../../domain/scope.ts'
import type { TokenData, TokenKey } from '../../domain/token.ts'
import { type Clock, floorToSecond } from '../../lib/clock.ts'
import { slicesOf } from '../../lib/slices.ts'
import type { AuditDatabase } from '../../stores/database/audit-database.ts'
import type { TokenDatabase } from '../../stores/database/token-database.ts'
import type { StoredRecord, TokenStore } from '../../stores/token-store/token-store.ts'
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
  /** Is told how many records were looked at so far. */
  readonly onProgress?: (done: number) => void
}

/** A finding, and whether it was mended. */
export interface AuditedFinding extends Finding {
  readonly isFixed: boolean
}

/** Rows and entries looked at together: the audit's memory does not grow with their number. */
const BATCH = 1_000

/** Suspicious rows that one transaction holds. */
const LOCK_BATCH_SIZE = 100

/**
 * Age below which an entry without a row may belong to a transaction that has yet to commit, and an edit may
 * have yet to reach its entry, in milliseconds; several times what either may take.
 */
const SETTLED_MS = 60_000

/**
 * How long an entry may outlast its end and its row, in milliseconds: in PostgreSQL until upkeep sweeps
 * it, which a server does every hour.
 */
const UNSWEPT_MS = 2 * 60 * 60_000

/**
 * Finds every disagreement between the two stores. Tokens come and go meanwhile, so each finding is
 * looked at again, with its row held, before it is told or mended. Every mending can be repeated, so
 * that an audit that was killed is simply run again.
 */
export class AuditService {
  readonly #deps: AuditServiceDeps
  /** By how much this machine's clock is ahead of the database's: where it fixes something, an audit goes by the latter. */
  #aheadMs = 0

  constructor(deps: AuditServiceDeps) {
    this.#deps = deps
  }

  /**
   * Goes through all rows, and then through the entries that have none.
   *
   * @throws {Error} Nothing is fixed, for the keys are those of another store.
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
    for await (const rows of audit.rows(BATCH)) {
      const suspects = await this.#suspectRows(rows)
      for (const slice of slicesOf(suspects, LOCK_BATCH_SIZE)) yield* await this.#confirmRows(slice, options)
      done += rows.length
      onProgress(done)
    }
    for await (const keys of tokens.scan()) {
      const strays = await this.#strays(keys)
      // A second look: a creation or a revocation may have been on its way between the two stores.
      if (strays.size > 0) yield* await this.#confirmStrays(await this.#strays([...strays.keys()]), options)
      done += keys.length
      onProgress(done)
    }
  }

  async #suspectRows(rows: readonly AuditedRow[]): Promise<TokenKey[]> {
    const keys = rows.map(({ key }) => key)
    const entries = await this.#deps.tokens.inspect(keys)
    return rows.filter((row) => this.#audit(row, entries.get(row.key)).length > 0).map(({ key }) => key)
  }

  /** Looks again with the rows held: what was on its way between the stores has then arrived. */
  #confirmRows(
    keys: readonly TokenKey[],
    { fix, deleteUnreadable = false }: AuditOptions,
  ): Promise<AuditedFinding[]> {
    return this.#deps.database.changeTrees(async (tx) => {
      const held = new Map((await tx.lockAll(keys)).map((token) => [token.key, token]))
      const rows = await this.#deps.audit.find([...held.keys()])
      const entries = await this.#deps.tokens.inspect([...held.keys()])
      // What an edit gives reaches the token store after the commit, when its row is no longer held.
      const settled = new Date(this.#now().getTime() - SETTLED_MS)
      const edited = await this.#deps.audit.editedSince([...held.keys()], settled)
      const suspects = rows.flatMap((row) => {
        const [token, entry] = [held.get(row.key), entries.get(row.key)]
        const findings = this.#audit(row, entry).filter(
          ({ kind }) => kind !== 'mismatch' || !edited.has(row.key),
        )
        return token ? [{ token, row, entry, findings }] : []
      })
      const repair = new AuditRepair(this.#deps.tokens, tx, { now: this.#now(), deleteUnreadable })
      const ended = fix ? await repair.fix(suspects) : new Set<TokenKey>()
      return suspects.flatMap(({ token, entry, findings }) =>
        findings.map((finding) => ({
          ...finding,
          isFixed: fix && (ended.has(token.key) || repair.isFixed(finding, entry)),
        })),
      )
    })
  }

  /** Those of `keys` that have an entry, but no row, and for whose row there is no more excuse. */
  async #strays(keys: readonly TokenKey[]): Promise<ReadonlyMap<TokenKey, StoredRecord>> {
    const rows = new Set((await this.#deps.audit.find(keys)).map(({ key }) => key))
    const strays = new Map(await this.#deps.tokens.inspect(keys.filter((key) => !rows.has(key))))
    for (const [key, entry] of strays) {
      if ('data' in entry && !this.#isStray(entry.data)) strays.delete(key)
    }
    return strays
  }

  #isStray({ createdAt, expiresAt }: TokenData): boolean {
    const now = this.#now().getTime()
    const isCommitted = now - createdAt.getTime() >= SETTLED_MS
    const isUnswept =
      expiresAt !== null && expiresAt.getTime() <= now && now - expiresAt.getTime() < UNSWEPT_MS
    return isCommitted && !isUnswept
  }

  async #confirmStrays(
    strays: ReadonlyMap<TokenKey, StoredRecord>,
    { fix, deleteUnreadable = false }: AuditOptions,
  ): Promise<AuditedFinding[]> {
    const isDeleted = (entry: StoredRecord) => fix && (deleteUnreadable || 'data' in entry)
    await this.#deps.tokens.delete([...strays].filter(([, entry]) => isDeleted(entry)).map(([key]) => key))
    return [...strays].flatMap(([key, entry]) =>
      auditStray(key, entry, this.#deps.knownScopes).map((finding) => ({
        ...finding,
        isFixed: isDeleted(entry),
      })),
    )
  }

  #audit(row: AuditedRow, entry: StoredRecord | undefined): Finding[] {
    return auditRow(row, entry, this.#deps.knownScopes, this.#now())
  }

  #now(): Date {
    return floorToSecond(new Date(this.#deps.clock.now().getTime() - this.#aheadMs))
  }
}
