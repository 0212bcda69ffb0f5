import {
  type AuditedRow,
  agreedReach,
  type Finding,
  type FindingKind,
  isSameReach,
  type Reach,
  reachBelow,
} from '../../domain/audit.ts'
import { INTERNAL_ACTOR } from '../../domain/history.ts'
import { isExpired, type TokenKey } from '../../domain/token.ts'
import type { Edit } from '../../stores/database/row-changes.ts'
import type { LockedToken, TreeTransaction } from '../../stores/database/tree-transaction.ts'
import type { StoredEntry, TokenStore } from '../../stores/token-store/token-store.ts'
import { lockTrees } from '../tokens/token-tree.ts'

/** A row in which something may be wrong, held, with its record and what is wrong. */
export interface Suspect {
  readonly token: LockedToken
  readonly row: AuditedRow
  readonly entry: StoredEntry | undefined
  readonly findings: readonly Finding[]
}

const ORIGIN = { actor: INTERNAL_ACTOR, ipAddress: null }

/**
 * Puts right what an audit has found in one transaction that holds the rows: never more than either store has, since
 * what one of them has lost may have been taken on purpose.
 */
export class AuditRepair {
  readonly #tokens: TokenStore
  readonly #tx: TreeTransaction
  readonly #now: Date
  readonly #deleteUnreadable: boolean

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

  /** Answers with the keys of the tokens that it has ended. */
  async fix(suspects: readonly Suspect[]): Promise<ReadonlySet<TokenKey>> {
    for (const { row } of suspects.filter(isTooWide)) await this.#narrow(row)
    const lost = suspects.filter((suspect) => this.#isLost(suspect))
    await this.#tx.edit(
      lost.map((suspect) => this.#endOf(suspect)),
      ORIGIN,
      this.#now,
    )
    const unreadable = suspects.filter(({ findings }) => has(findings, 'malformed'))
    if (this.#deleteUnreadable) await this.#tokens.delete(unreadable.map(({ token }) => token.key))
    const orphans = suspects.filter(isOrphan)
    const spared = lost.filter((suspect) => !isOrphan(suspect)).map(({ token }) => token)
    // Nothing below a token that has ended may go on. Its own row is left to maintenance.
    const [roots = [], ...below] = await lockTrees(this.#tx, [
      ...orphans.map(({ token }) => token),
      ...spared,
    ])
    return this.#end([roots.filter((root) => !spared.some(({ key }) => key === root.key)), ...below])
  }

  /** Whether a finding is put right, where its token is not ended anyway. */
  isFixed({ kind, detail }: Finding, entry: StoredEntry | undefined): boolean {
    if (kind === 'mismatch')
      return detail.split(', ').every((fact) => fact === 'scopes' || fact === 'expires')
    if (kind === 'malformed') return this.#deleteUnreadable
    if (kind === 'outlives-parent') return entry === undefined || 'data' in entry || this.#deleteUnreadable
    return kind === 'db-only' && (entry === undefined || this.#deleteUnreadable)
  }

  /** A record that is only unreadable here may be that of a live token: others may have its encryption key. */
  #isLost({ findings, entry }: Suspect): boolean {
    return has(findings, 'db-only') && (entry === undefined || this.#deleteUnreadable)
  }

  /**
   * Leaves the token what both sides have, no longer than its parent, and its descendants nothing that this takes from
   * it. What was read of it may have been narrowed meanwhile, as a descendant of another suspect.
   */
  async #narrow(before: AuditedRow): Promise<void> {
    const [token] = await this.#tx.lockAll([before.key])
    const entry = await this.#tokens.findRecord(before.key)
    if (!token || !entry) return
    const { data } = entry
    const row = { ...before, scopes: token.scopes, expiresAt: token.expiresAt }
    const agreed = agreedReach(row, data)
    const [, ...levels] = await lockTrees(this.#tx, [token])
    const below = levels.flat()
    const edits = below.flatMap((child) => editsTo(child, reachBelow(child, row, data)))
    await this.#tx.edit([...editsTo(token, agreed), ...edits], ORIGIN, this.#now)
    // Deepest first: should this process die in between, still no child has more than its parent.
    for (const child of below.toReversed()) {
      await this.#narrowRecord(child.key, (reach) => reachBelow(reach, row, data))
    }
    await this.#narrowRecord(token.key, () => agreed)
  }

  async #narrowRecord(key: TokenKey, narrow: (reach: Reach) => Reach): Promise<void> {
    const entry = await this.#tokens.findRecord(key)
    if (!entry) return
    const reach = narrow(entry.data)
    if (isSameReach(reach, entry.data)) return
    if (isExpired(reach, this.#now)) await this.#tokens.delete([key])
    else await this.#tokens.replace(entry, { ...entry.data, ...reach })
  }

  #endOf({ token }: Suspect): Edit {
    return {
      key: token.key,
      tokenName: token.tokenName,
      scopes: token.scopes,
      expiresAt: this.#now,
      old: { tokenName: undefined, scopes: undefined, expiresAt: token.expiresAt },
    }
  }

  async #end(levels: readonly (readonly LockedToken[])[]): Promise<ReadonlySet<TokenKey>> {
    const keys = levels
      .flat()
      .map(({ key }) => key)
      .reverse()
    await this.#tokens.delete(keys)
    await this.#tx.revoke(keys, ORIGIN, this.#now)
    return new Set(keys)
  }
}

/** The edit that gives a row `reach`; none where it has that. */
function editsTo(token: LockedToken, reach: Reach): Edit[] {
  if (isSameReach(token, reach)) return []
  const changes = (fact: keyof Reach) => !isSameReach({ ...token, [fact]: reach[fact] }, token)
  const old = {
    tokenName: undefined,
    scopes: changes('scopes') ? token.scopes : undefined,
    expiresAt: changes('expiresAt') ? token.expiresAt : undefined,
  }
  return [{ key: token.key, tokenName: token.tokenName, ...reach, old }]
}

const has = (findings: readonly Finding[], wanted: FindingKind): boolean =>
  findings.some(({ kind }) => kind === wanted)

const isOrphan = ({ findings }: Suspect): boolean => has(findings, 'orphan')

/** Whether one side, or the parent, has less than the other. */
const isTooWide = ({ findings, entry }: Suspect): boolean =>
  entry !== undefined && 'data' in entry && (has(findings, 'mismatch') || has(findings, 'outlives-parent'))
