import {
  type AuditedRow,
  agreedGrant,
  type Finding,
  type FindingKind,
  repairedGrant,
  type StoredRecord,
} from '../../domain/audit.ts'
import { type Grant, isSameGrant } from '../../domain/grant.ts'
import { INTERNAL_ACTOR } from '../../domain/history.ts'
import { findGrantEdit, type TokenEdit } from '../../domain/modification.ts'
import { isExpired, type TokenKey } from '../../domain/token.ts'
import { slicesOf } from '../../lib/slices.ts'
import type { LockedToken, TreeTransaction } from '../../stores/database/tree-transaction.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import { lockTrees } from '../tokens/token-tree.ts'

/** A row with its record, and the findings about them, while the row is held. */
export interface Suspect {
  readonly token: LockedToken
  readonly row: AuditedRow
  readonly record: StoredRecord | undefined
  readonly findings: readonly Finding[]
}

/** Records of a tree that are read at the same time. */
const RECORD_BATCH_SIZE = 500

const ORIGIN = { actor: INTERNAL_ACTOR, ipAddress: null }

/**
 * Fixes the findings of an audit, in one transaction that holds the rows. A token keeps at most what both stores grant: what
 * one of them does not grant may have been taken on purpose.
 */
export class AuditRepair {
  readonly #tokens: TokenStore
  readonly #tx: TreeTransaction
  readonly #now: Date
  readonly #deleteUnreadable: boolean
  /** Suspects that are not fixed because of a record that cannot be read. */
  readonly #kept = new Set<TokenKey>()

  constructor(
    tokens: TokenStore,
    tx: TreeTransaction,
    { now, deleteUnreadable }: { readonly now: Date; readonly deleteUnreadable: boolean },
  ) {
    this.#tokens = tokens
    this.#tx = tx
    this.#now = now
    this.#deleteUnreadable = deleteUnreadable
  }

  /** Returns the keys of the tokens that it has revoked. */
  async fix(suspects: readonly Suspect[]): Promise<ReadonlySet<TokenKey>> {
    for (const { row } of suspects.filter(isTooWide)) await this.#narrow(row)
    const ended = await this.#withReadableTrees(
      suspects.filter((suspect) => this.#isLost(suspect) || isOrphan(suspect)),
    )
    const lost = ended.filter((suspect) => this.#isLost(suspect))
    await this.#tx.edit(
      lost.map((suspect) => this.#expiryEdit(suspect)),
      ORIGIN,
      this.#now,
    )
    const unreadable = suspects.filter(({ findings }) => has(findings, 'malformed'))
    if (this.#deleteUnreadable) await this.#tokens.delete(unreadable.map(({ token }) => token.key))
    const orphans = ended.filter(isOrphan)
    const expired = lost.filter((suspect) => !isOrphan(suspect)).map(({ token }) => token)
    // The descendants of an expired token are revoked; its own row is left to maintenance.
    const [roots = [], ...below] = await lockTrees(this.#tx, [
      ...orphans.map(({ token }) => token),
      ...expired,
    ])
    return this.#revoke([roots.filter((root) => !expired.some(({ key }) => key === root.key)), ...below])
  }

  /** Whether `fix` fixes a finding whose token it does not revoke. */
  isFixed({ key, kind, detail }: Finding, record: StoredRecord | undefined): boolean {
    if (kind === 'mismatch')
      return detail.split(', ').every((fact) => fact === 'scopes' || fact === 'expires')
    if (kind === 'malformed') return this.#deleteUnreadable
    if (kind === 'outlives-parent') return record === undefined || 'data' in record || this.#deleteUnreadable
    if (kind !== 'db-only' || (key !== null && this.#kept.has(key))) return false
    return record === undefined || this.#deleteUnreadable
  }

  /**
   * Returns the suspects that can be revoked with their descendants: of the others, a record cannot be read. That may be
   * the record of a live token, whose encryption key only other processes have.
   */
  async #withReadableTrees(suspects: readonly Suspect[]): Promise<readonly Suspect[]> {
    if (this.#deleteUnreadable || (await this.#isReadable(suspects))) return suspects
    const readable: Suspect[] = []
    for (const suspect of suspects) {
      if (await this.#isReadable([suspect])) readable.push(suspect)
      else this.#kept.add(suspect.token.key)
    }
    return readable
  }

  /** Whether every record of the trees of these tokens can be read. */
  async #isReadable(suspects: readonly Suspect[]): Promise<boolean> {
    const trees = await lockTrees(
      this.#tx,
      suspects.map(({ token }) => token),
    )
    for (const slice of slicesOf(trees.flat(), RECORD_BATCH_SIZE)) {
      const records = await this.#tokens.inspect(slice.map(({ key }) => key))
      if ([...records.values()].some((record) => !('data' in record))) return false
    }
    return true
  }

  /** A record that only this process cannot decrypt may be that of a live token: other processes may have its encryption key. */
  #isLost({ findings, record }: Suspect): boolean {
    return has(findings, 'db-only') && (record === undefined || this.#deleteUnreadable)
  }

  /**
   * Narrows the token to what both stores grant, until its parent expires, and its descendants accordingly. Reads the
   * token again: it may have been narrowed meanwhile, as a descendant of another suspect.
   */
  async #narrow(before: AuditedRow): Promise<void> {
    const [token] = await this.#tx.lockAll([before.key])
    const record = await this.#tokens.findRecord(before.key)
    if (!token || !record) return
    const { data } = record
    const row = { ...before, scopes: token.scopes, expiresAt: token.expiresAt }
    const agreed = agreedGrant(row, data)
    const [, ...levels] = await lockTrees(this.#tx, [token])
    const below = levels.flat()
    const edits = [
      findGrantEdit(token, agreed),
      ...below.map((child) => findGrantEdit(child, repairedGrant(child, row, data))),
    ]
    await this.#tx.edit(
      edits.filter((edit) => edit !== undefined),
      ORIGIN,
      this.#now,
    )
    // The deepest first: if this process is killed in between, no child has more than its parent.
    for (const child of below.toReversed()) {
      await this.#narrowRecord(child.key, (grant) => repairedGrant(grant, row, data))
    }
    await this.#narrowRecord(token.key, () => agreed)
  }

  async #narrowRecord(key: TokenKey, narrow: (grant: Grant) => Grant): Promise<void> {
    const record = await this.#tokens.findRecord(key)
    if (!record) return
    const grant = narrow(record.data)
    if (isSameGrant(grant, record.data)) return
    if (isExpired(grant, this.#now)) await this.#tokens.delete([key])
    else await this.#tokens.replace(record, { ...record.data, ...grant })
  }

  #expiryEdit({ token }: Suspect): TokenEdit {
    return {
      key: token.key,
      tokenName: token.tokenName,
      scopes: token.scopes,
      expiresAt: this.#now,
      old: { tokenName: undefined, scopes: undefined, expiresAt: token.expiresAt },
    }
  }

  async #revoke(levels: readonly (readonly LockedToken[])[]): Promise<ReadonlySet<TokenKey>> {
    const keys = levels
      .flat()
      .map(({ key }) => key)
      .reverse()
    await this.#tokens.delete(keys)
    await this.#tx.revoke(keys, ORIGIN, this.#now)
    return new Set(keys)
  }
}

const has = (findings: readonly Finding[], wanted: FindingKind): boolean =>
  findings.some(({ kind }) => kind === wanted)

const isOrphan = ({ findings }: Suspect): boolean => has(findings, 'orphan')

/** Whether one of row and record grants more than the other one, or more than the parent. */
const isTooWide = ({ findings, record }: Suspect): boolean =>
  record !== undefined && 'data' in record && (has(findings, 'mismatch') || has(findings, 'outlives-parent'))
