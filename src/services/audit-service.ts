import { type AuditedRow, auditRow, auditStray, type Finding, type FindingKind } from '../domain/audit.ts'
import { INTERNAL_ACTOR } from '../domain/history.ts'
import { floorToSecond } from '../domain/lifetime.ts'
import type { KnownScopes } from '../domain/scope.ts'
import type { TokenData, TokenKey } from '../domain/token.ts'
import type { Clock } from '../lib/clock.ts'
import { slicesOf } from '../lib/slices.ts'
import type { AuditDatabase } from '../stores/audit-database.ts'
import type { TokenDatabase } from '../stores/token-database.ts'
import type { StoredEntry, TokenStore } from '../stores/token-store.ts'
import type { Edit, LockedToken, TreeTransaction } from '../stores/tree-transaction.ts'
import type { KeyCheck } from './key-check.ts'
import { lockTrees } from './token-tree.ts'

export interface AuditServiceDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly audit: AuditDatabase
  readonly keys: KeyCheck
  readonly clock: Clock
  readonly knownScopes: KnownScopes
}

export interface AuditOptions {
  /** Whether to mend what can be mended. */
  readonly fix: boolean
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
const HELD_AT_ONCE = 100

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

/** A row that may be at fault, held, with its entry and what is wrong. */
interface Suspect {
  readonly token: LockedToken
  readonly entry: StoredEntry | undefined
  readonly findings: readonly Finding[]
}

const ORIGIN = { actor: INTERNAL_ACTOR, ipAddress: null }

/**
 * Finds every disagreement between the two stores. Tokens come and go meanwhile, so each finding is
 * looked at again, with its row held, before it is told or mended. Every mending can be repeated, so
 * that an audit that was killed is simply run again.
 */
export class AuditService {
  readonly #deps: AuditServiceDeps

  constructor(deps: AuditServiceDeps) {
    this.#deps = deps
  }

  /**
   * Goes through all rows, and then through the entries that have none.
   *
   * @throws {Error} Nothing is mended, for the keys are those of another store.
   * @throws {UnavailableError}
   */
  async *run({ fix, onProgress = () => undefined }: AuditOptions): AsyncGenerator<AuditedFinding> {
    const { audit, tokens } = this.#deps
    // What cannot be opened is deleted.
    if (fix) await this.#deps.keys.requireCurrent()
    let done = 0
    for await (const rows of audit.rows(BATCH)) {
      const suspects = await this.#suspectRows(rows)
      for (const slice of slicesOf(suspects, HELD_AT_ONCE)) yield* await this.#confirmRows(slice, fix)
      done += rows.length
      onProgress(done)
    }
    for await (const keys of tokens.scan()) {
      const strays = await this.#strays(keys)
      // A second look: a creation or a revocation may have been on its way between the two stores.
      if (strays.size > 0) yield* await this.#confirmStrays(await this.#strays([...strays.keys()]), fix)
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
  #confirmRows(keys: readonly TokenKey[], fix: boolean): Promise<AuditedFinding[]> {
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
        return token ? [{ token, entry, findings }] : []
      })
      const ended = fix ? await this.#mend(tx, suspects) : new Set<TokenKey>()
      return suspects.flatMap(({ token, findings }) =>
        findings.map((finding) => ({
          ...finding,
          isFixed: fix && (ended.has(token.key) || canMend(finding)),
        })),
      )
    })
  }

  /** Mends what can be mended, and answers with the keys of the tokens that it has ended. */
  async #mend(tx: TreeTransaction, suspects: readonly Suspect[]): Promise<ReadonlySet<TokenKey>> {
    await tx.edit(
      suspects.flatMap((suspect) => this.#editFor(suspect)),
      ORIGIN,
      this.#now(),
    )
    const damaged = suspects.filter(({ findings }) => has(findings, 'malformed'))
    await this.#deps.tokens.delete(damaged.map(({ token }) => token.key))
    const misplaced = suspects.filter(isMisplaced)
    const dead = suspects.filter((suspect) => has(suspect.findings, 'db-only') && !isMisplaced(suspect))
    // Nothing below a token that has ended may go on. Its own row is left to upkeep.
    const [roots = [], ...below] = await lockTrees(
      tx,
      [...misplaced, ...dead].map(({ token }) => token),
    )
    const spared = new Set(dead.map(({ token }) => token.key))
    return this.#end(tx, [roots.filter(({ key }) => !spared.has(key)), ...below])
  }

  async #end(tx: TreeTransaction, levels: readonly (readonly LockedToken[])[]): Promise<Set<TokenKey>> {
    const keys = levels
      .flat()
      .map(({ key }) => key)
      .reverse()
    await this.#deps.tokens.delete(keys)
    await tx.revoke(keys, ORIGIN, this.#now())
    return new Set(keys)
  }

  /**
   * The token store decides: a row without an entry ends now, for upkeep to remove, and scopes become
   * those of the entry.
   */
  #editFor({ token, entry, findings }: Suspect): Edit[] {
    const isDead = has(findings, 'db-only')
    const hasOtherScopes = findings.some(
      ({ kind, detail }) => kind === 'mismatch' && detail.includes('scopes'),
    )
    if (!isDead && !hasOtherScopes) return []
    const scopes = hasOtherScopes && entry && 'data' in entry ? entry.data.scopes : token.scopes
    const old = {
      tokenName: undefined,
      scopes: hasOtherScopes ? token.scopes : undefined,
      expiresAt: isDead ? token.expiresAt : undefined,
    }
    const expiresAt = isDead ? this.#now() : token.expiresAt
    return [{ key: token.key, tokenName: token.tokenName, scopes, expiresAt, old }]
  }

  /** Those of `keys` that have an entry, but no row, and for whose row there is no more excuse. */
  async #strays(keys: readonly TokenKey[]): Promise<ReadonlyMap<TokenKey, StoredEntry>> {
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

  async #confirmStrays(strays: ReadonlyMap<TokenKey, StoredEntry>, fix: boolean): Promise<AuditedFinding[]> {
    if (fix) await this.#deps.tokens.delete([...strays.keys()])
    return [...strays].flatMap(([key, entry]) =>
      auditStray(key, entry, this.#deps.knownScopes).map((finding) => ({ ...finding, isFixed: fix })),
    )
  }

  #audit(row: AuditedRow, entry: StoredEntry | undefined): Finding[] {
    return auditRow(row, entry, this.#deps.knownScopes, this.#now())
  }

  #now(): Date {
    return floorToSecond(this.#deps.clock.now())
  }
}

const has = (findings: readonly Finding[], wanted: FindingKind): boolean =>
  findings.some(({ kind }) => kind === wanted)

/** Whether its place in the lineage is one that no token may have. */
const isMisplaced = ({ findings }: Suspect): boolean =>
  has(findings, 'orphan') || has(findings, 'outlives-parent')

/** A mismatch is mended where it is of scopes alone; what else differs, and unknown scopes, are for people. */
const canMend = ({ kind, detail }: Finding): boolean =>
  kind === 'malformed' || kind === 'db-only' || (kind === 'mismatch' && detail === 'scopes')
