import { isSameScopes, type KnownScopes, type Scopes } from './scope.ts'
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
] as const

export type FindingKind = (typeof FINDING_KINDS)[number]

/** One disagreement. `detail` is for people: what differs, which scope, what is damaged. Holds no secret. */
export interface Finding {
  readonly kind: FindingKind
  readonly key: TokenKey
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
