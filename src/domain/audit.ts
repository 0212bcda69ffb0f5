import { earlier } from './lifetime.ts'
import { intersect, isSameScopes, type KnownScopes, type Scopes } from './scope.ts'
import { isExpired, type TokenData, type TokenKey, type TokenType } from './token.ts'

/** Every way in which the stores can disagree, or lineage be broken. */
export const FINDING_KINDS = [
  'malformed',
  'db-only',
  'redis-only',
  'mismatch',
  'outlives-parent',
  'orphan',
  'unknown-scope',
  'history-ids',
] as const

export type FindingKind = (typeof FINDING_KINDS)[number]

/** One disagreement. `detail` is for people: what differs, which scope, what is damaged. Holds no secret. */
export interface Finding {
  readonly kind: FindingKind
  /** `null` where it is about no token. */
  readonly key: TokenKey | null
  /** `null` where a damaged record does not tell. */
  readonly username: string | null
  readonly detail: string
}

/** A row of the database with what its lineage says. */
export interface AuditedRow {
  readonly key: TokenKey
  readonly username: string
  readonly type: TokenType
  readonly tokenName: string | null
  readonly scopes: Scopes
  readonly createdAt: Date
  readonly expiresAt: Date | null
  /** Whether lineage is on record for it, be the parent there or gone. */
  readonly isDelegated: boolean
  readonly parentKey: TokenKey | null
  readonly parentExpiresAt: Date | null
}

/** An entry of the token store as it is: readable, or damaged, and then how; never with its contents. */
export type StoredEntry = { readonly data: TokenData } | DamagedEntry

export interface DamagedEntry {
  readonly fault: string
  /** When it was sealed, where all that is known to be wrong is that we have no key for it. */
  readonly sealedAt?: Date
}

/**
 * Redis counts the life of an entry in whole seconds from when it was written, and so may drop it up to
 * this early, in milliseconds.
 */
const EARLIEST_DROP_MS = 1_000

/** What is wrong with a row and its entry, judged at `now`, a whole second. */
export function auditRow(
  row: AuditedRow,
  entry: StoredEntry | undefined,
  known: KnownScopes,
  now: Date,
): Finding[] {
  const found = (kind: FindingKind, detail: string): Finding => ({
    kind,
    key: row.key,
    username: row.username,
    detail,
  })
  const isEnded = row.expiresAt !== null && row.expiresAt.getTime() - now.getTime() <= EARLIEST_DROP_MS
  const findings: Finding[] = []
  if (entry && 'fault' in entry) findings.push(found('malformed', entry.fault))
  if (!(entry && 'data' in entry) && !isEnded) findings.push(found('db-only', 'not in the token store'))
  if (entry && 'data' in entry) {
    const differing = differences(row, entry.data)
    if (differing.length > 0) findings.push(found('mismatch', differing.join(', ')))
    findings.push(...unknownScopes(entry.data, known))
  }
  if (outlivesParent(row)) findings.push(found('outlives-parent', `parent ${row.parentKey}`))
  // Of a tree whose life is over the parent may go first, such as when its name is given to another token.
  const isOver = isEnded && !(entry && 'data' in entry && !isExpired(entry.data, now))
  if (row.isDelegated && row.parentKey === null && !isOver)
    findings.push(found('orphan', 'its parent is gone'))
  return findings
}

/** What is wrong with an entry that has no row. */
export function auditStray(key: TokenKey, entry: StoredEntry, known: KnownScopes): Finding[] {
  if ('fault' in entry) return [{ kind: 'malformed', key, username: null, detail: entry.fault }]
  const { username } = entry.data
  return [
    { kind: 'redis-only', key, username, detail: 'not in the database' },
    ...unknownScopes(entry.data, known),
  ]
}

/** Share of the numbers of history events after which the audit warns, so that there is time to act. */
const WARN_AT_SHARE = 0.7

/**
 * What is wrong where the numbers of history events come to their end: the column is an integer of 32 bits, and without
 * a number no token can be created, changed or revoked.
 */
export function auditHistoryIds({ last, max }: HistoryIds): Finding[] {
  const share = last / max
  if (share <= WARN_AT_SHARE) return []
  const detail = `${Math.floor(share * 100)} % of the numbers of history events are used up (${last} of ${max}): see docs/guides/operations.md`
  return [{ kind: 'history-ids', key: null, username: null, detail }]
}

/** The number of the last history event, and the largest that there can be. */
export interface HistoryIds {
  readonly last: number
  readonly max: number
}

/** What both stores let a token do, and its parent's row: what any of them has taken from it stays taken. */
export const agreedReach = (row: AuditedRow, data: TokenData): Reach => ({
  scopes: intersect(row.scopes, data.scopes),
  expiresAt: earlier(earlier(row.expiresAt, data.expiresAt), row.parentExpiresAt),
})

/** What is left of a descendant once a token is left with `agreed`: scopes only where the sides differed in them. */
export const reachBelow = (child: Reach, row: AuditedRow, data: TokenData): Reach => {
  const agreed = agreedReach(row, data)
  return {
    scopes: isSameScopes(row.scopes, data.scopes) ? child.scopes : intersect(child.scopes, agreed.scopes),
    expiresAt: earlier(child.expiresAt, agreed.expiresAt),
  }
}

/** Rights and lifetime of a token. */
export type Reach = Pick<AuditedRow, 'scopes' | 'expiresAt'>

export const isSameReach = (left: Reach, right: Reach): boolean =>
  isSameScopes(left.scopes, right.scopes) && left.expiresAt?.getTime() === right.expiresAt?.getTime()

function differences(row: AuditedRow, data: TokenData): string[] {
  const isSame = {
    username: row.username === data.username,
    type: row.type === data.type,
    scopes: isSameScopes(row.scopes, data.scopes),
    created: row.createdAt.getTime() === data.createdAt.getTime(),
    expires: row.expiresAt?.getTime() === data.expiresAt?.getTime(),
  }
  return Object.entries(isSame).flatMap(([fact, same]) => (same ? [] : [fact]))
}

const unknownScopes = ({ token, username, scopes }: TokenData, known: KnownScopes): Finding[] =>
  scopes
    .filter((scope) => !known.has(scope))
    .map((scope) => ({ kind: 'unknown-scope', key: token.key, username, detail: scope }))

const outlivesParent = ({ parentKey, parentExpiresAt, expiresAt }: AuditedRow): boolean =>
  parentKey !== null && parentExpiresAt !== null && (expiresAt === null || expiresAt > parentExpiresAt)
