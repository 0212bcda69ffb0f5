import { notFound, PorthorError } from './errors.ts'
import { type Grant, isSameExpiry, isSameGrant } from './grant.ts'
import { earlier, requireExpiry } from './lifetime.ts'
import { intersect, isSameScopes, type KnownScopes, requireKnown, type Scopes, toScopes } from './scope.ts'
import type { TokenKey, TokenType } from './token.ts'
import { requireTokenName } from './user.ts'

/** A requested change of a token. What is `undefined` stays as it is. */
export interface TokenModification {
  readonly tokenName?: string | undefined
  /** Replaces all scopes; an empty list removes them. */
  readonly scopes?: readonly string[] | undefined
  /** `null` for a token that never expires. */
  readonly expiresAt?: Date | null | undefined
}

/** A `TokenModification` whose values are valid. */
export interface CheckedModification {
  readonly tokenName: string | undefined
  readonly scopes: Scopes | undefined
  readonly expiresAt: Date | null | undefined
}

/** The values of a row that an edit may change. */
export interface EditableRow extends Grant {
  readonly key: TokenKey
  readonly tokenName: string | null
}

/** The values of a row after an edit. What the edit does not change has its present value. */
export interface TokenEdit extends EditableRow {
  /** Values before the edit, for the history; `undefined` for those that the edit is not about. */
  readonly old: {
    readonly tokenName: string | null | undefined
    readonly scopes: Scopes | undefined
    readonly expiresAt: Date | null | undefined
  }
}

/** @throws {PorthorError} `INVALID_TOKEN_NAME`, `INVALID_SCOPES`, `INVALID_EXPIRES` */
export function requireModification(
  { tokenName, scopes: names, expiresAt }: TokenModification,
  knownScopes: KnownScopes,
  now: Date,
): CheckedModification {
  if (tokenName !== undefined) requireTokenName(tokenName)
  const scopes = names && toScopes(names)
  if (scopes) requireKnown(scopes, knownScopes)
  return { tokenName, scopes, expiresAt: expiresAt ? requireExpiry(expiresAt, now) : expiresAt }
}

/**
 * Returns the token that is to be modified.
 *
 * @throws {PorthorError} `NOT_FOUND` for none, `PERMISSION_DENIED` for another than a user token.
 */
export function requireModifiable<T extends { readonly type: TokenType }>(
  key: TokenKey,
  token: T | undefined,
): T {
  if (!token) throw notFound(key)
  if (token.type === 'user') return token
  throw new PorthorError(
    'PERMISSION_DENIED',
    `Only user tokens can be modified: this is a ${token.type} token.`,
  )
}

export const isEmptyModification = (modification: CheckedModification): boolean =>
  Object.values(modification).every((value) => value === undefined)

/** Whether the record must follow: the token store has no names. */
export const isAboutGrant = ({ scopes, expiresAt }: CheckedModification): boolean =>
  scopes !== undefined || expiresAt !== undefined

/** Returns the modification, of which the expiry is no later than that of the token's parent. */
export const withinParent = (
  modification: CheckedModification,
  parentExpiresAt: Date | null,
): CheckedModification =>
  modification.expiresAt === undefined
    ? modification
    : { ...modification, expiresAt: earlier(modification.expiresAt, parentExpiresAt) }

/** Returns the edit of the modified token itself. */
export const modificationEdit = (
  row: EditableRow,
  { tokenName, scopes, expiresAt }: CheckedModification,
): TokenEdit => ({
  key: row.key,
  tokenName: tokenName ?? row.tokenName,
  scopes: scopes ?? row.scopes,
  expiresAt: expiresAt === undefined ? row.expiresAt : expiresAt,
  old: {
    tokenName: tokenName === undefined ? undefined : row.tokenName,
    scopes: scopes && row.scopes,
    expiresAt: expiresAt === undefined ? undefined : row.expiresAt,
  },
})

/** Returns what a descendant of the modified token keeps: at most what the modification grants, where it is about that. */
export const grantBelow = (descendant: Grant, { scopes, expiresAt }: CheckedModification): Grant => ({
  scopes: scopes ? intersect(descendant.scopes, scopes) : descendant.scopes,
  expiresAt: expiresAt === undefined ? descendant.expiresAt : earlier(descendant.expiresAt, expiresAt),
})

/** Returns the edit that gives `row` another grant; `undefined` where the row has that grant already. */
export function findGrantEdit(row: EditableRow, grant: Grant): TokenEdit | undefined {
  if (isSameGrant(row, grant)) return undefined
  return {
    key: row.key,
    tokenName: row.tokenName,
    scopes: grant.scopes,
    expiresAt: grant.expiresAt,
    old: {
      tokenName: undefined,
      scopes: isSameScopes(row.scopes, grant.scopes) ? undefined : row.scopes,
      expiresAt: isSameExpiry(row.expiresAt, grant.expiresAt) ? undefined : row.expiresAt,
    },
  }
}
