import { commonGrant, type Grant, isSameExpiry } from './grant.ts'
import { earlier } from './lifetime.ts'
import { intersect, isSameScopes, type KnownScopes } from './scope.ts'
import { isExpired, type TokenData, type TokenKey, type TokenType } from './token.ts'

/** Kinds of disagreement between the stores, and of broken lineage. */
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

/** One disagreement. `detail` is for people: what differs, which scope, what is unreadable. Holds no secret. */
export interface Finding {
  readonly kind: FindingKind
  /** `null` for a finding that is not about one token. */
  readonly key: TokenKey | null
  /** `null` where the record is unreadable. */
  readonly username: string | null
  readonly detail: string
}

/** A row of the database, with its lineage. */
export interface AuditedRow extends Grant {
  readonly key: TokenKey
  readonly username: string
  readonly type: TokenType
  readonly tokenName: string | null
  readonly createdAt: Date
  /** Whether it has a row of lineage; its parent may be deleted. */
  readonly isDelegated: boolean
  readonly parentKey: TokenKey | null
  readonly parentExpiresAt: Date | null
}

/** A record of the token store: readable, or unreadable with the reason; the reason never quotes the contents. */
export type StoredRecord = { readonly data: TokenData } | DamagedRecord

export interface DamagedRecord {
  readonly fault: string
  /** Time of its encryption, where no encryption key decrypts it and nothing else is known to be wrong. */
  readonly encryptedAt?: Date
}

/** Redis counts a TTL in whole seconds from the write, and so may drop a record up to this early, in milliseconds. */
const EARLIEST_DROP_MS = 1_000

/** Returns the findings about a row and its record at `now`, a whole second. */
export function auditRow(
  row: AuditedRow,
  record: StoredRecord | undefined,
  known: KnownScopes,
  now: Date,
): Finding[] {
  const found = (kind: FindingKind, detail: string): Finding => ({
    kind,
    key: row.key,
    username: row.username,
    detail,
  })
  const isRowExpired = row.expiresAt !== null && row.expiresAt.getTime() - now.getTime() <= EARLIEST_DROP_MS
  const data = record && 'data' in record ? record.data : undefined
  const findings: Finding[] = []
  if (record && 'fault' in record) findings.push(found('malformed', record.fault))
  if (!data && !isRowExpired) findings.push(found('db-only', 'not in the token store'))
  if (data) {
    const differing = differences(row, data)
    if (differing.length > 0) findings.push(found('mismatch', differing.join(', ')))
    findings.push(...unknownScopes(data, known))
  }
  if (outlivesParent(row)) findings.push(found('outlives-parent', `parent ${row.parentKey}`))
  // The row of an expired parent may be deleted before those of its children, as when its name is used again.
  const isTokenExpired = isRowExpired && !(data && !isExpired(data, now))
  if (row.isDelegated && row.parentKey === null && !isTokenExpired)
    findings.push(found('orphan', 'its parent is not in the database'))
  return findings
}

/** Returns the findings about a record that has no row. */
export function auditStray(key: TokenKey, record: StoredRecord, known: KnownScopes): Finding[] {
  if ('fault' in record) return [{ kind: 'malformed', key, username: null, detail: record.fault }]
  const { username } = record.data
  return [
    { kind: 'redis-only', key, username, detail: 'not in the database' },
    ...unknownScopes(record.data, known),
  ]
}

/** Share of the ids of history events from which the audit warns: months before the last one. */
const WARN_AT_SHARE = 0.7

/**
 * Returns a finding where most ids of history events are used. The column is an integer of 32 bits, and without an id no
 * token can be created, changed or revoked.
 */
export function auditHistoryIds({ last, max }: HistoryIds): Finding[] {
  const share = last / max
  if (share <= WARN_AT_SHARE) return []
  const detail = `${Math.floor(share * 100)} % of the ids of history events are used (${last} of ${max}): see docs/guides/operations.md`
  return [{ kind: 'history-ids', key: null, username: null, detail }]
}

/** Number of the last history event, and the largest possible one. */
export interface HistoryIds {
  readonly last: number
  readonly max: number
}

/** Returns what the row, the record and the parent's row all allow: what was taken in one of them stays taken. */
export function agreedGrant(row: AuditedRow, data: TokenData): Grant {
  const { scopes, expiresAt } = commonGrant(row, data)
  return { scopes, expiresAt: earlier(expiresAt, row.parentExpiresAt) }
}

/** Returns what a descendant keeps after the repair of a token: fewer scopes only where row and record differed in them. */
export function repairedGrant(descendant: Grant, row: AuditedRow, data: TokenData): Grant {
  const { scopes, expiresAt } = agreedGrant(row, data)
  return {
    scopes: isSameScopes(row.scopes, data.scopes) ? descendant.scopes : intersect(descendant.scopes, scopes),
    expiresAt: earlier(descendant.expiresAt, expiresAt),
  }
}

function differences(row: AuditedRow, data: TokenData): string[] {
  const isSame = {
    username: row.username === data.username,
    type: row.type === data.type,
    scopes: isSameScopes(row.scopes, data.scopes),
    created: row.createdAt.getTime() === data.createdAt.getTime(),
    expires: isSameExpiry(row.expiresAt, data.expiresAt),
  }
  return Object.entries(isSame).flatMap(([fact, same]) => (same ? [] : [fact]))
}

const unknownScopes = ({ token, username, scopes }: TokenData, known: KnownScopes): Finding[] =>
  scopes
    .filter((scope) => !known.has(scope))
    .map((scope) => ({ kind: 'unknown-scope', key: token.key, username, detail: scope }))

const outlivesParent = ({ parentKey, parentExpiresAt, expiresAt }: AuditedRow): boolean =>
  parentKey !== null && parentExpiresAt !== null && (expiresAt === null || expiresAt > parentExpiresAt)
