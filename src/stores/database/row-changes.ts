import type { Origin } from '../../domain/history.ts'
import type { TokenEdit } from '../../domain/modification.ts'
import { formatScopes, type Scopes } from '../../domain/scope.ts'
import type { TokenKey, TokenType } from '../../domain/token.ts'
import { duplicateTokenName } from '../../domain/user.ts'
import type { PrismaClient } from '../../generated/prisma/client.ts'
import { slicesOf } from '../../lib/slices.ts'
import { formatTimestamp } from './timestamp.ts'
import { isUniqueViolation } from './unique-violation.ts'

type Executable = Pick<PrismaClient, '$executeRaw'>

/** Rows that one statement changes, so that none reaches its time limit, however large the tree is. */
const ROW_BATCH_SIZE = 1_000

/** A token that has a record and no row. */
export interface StrayToken {
  readonly key: TokenKey
  readonly username: string
  readonly type: TokenType
  readonly service: string | null
  readonly scopes: Scopes
  readonly expiresAt: Date | null
}

/** Deletes the rows, and writes a `revoke` event for each, in the order of `keys`: children before their parents. */
export async function revokeRows(
  db: Executable,
  keys: readonly TokenKey[],
  origin: Origin,
  now: Date,
): Promise<void> {
  for (const slice of slicesOf(keys, ROW_BATCH_SIZE)) await revokeSlice(db, slice, origin, now)
}

async function revokeSlice(
  db: Executable,
  keys: readonly TokenKey[],
  { actor, ipAddress }: Origin,
  now: Date,
): Promise<void> {
  await db.$executeRaw`
    WITH revoked AS (
      SELECT * FROM unnest(${keys}::text[]) WITH ORDINALITY AS revoked (key, place)
    ), deleted AS (
      DELETE FROM token USING revoked WHERE token.token = revoked.key RETURNING token.*, revoked.place
    )
    INSERT INTO token_change_history
      (token, username, token_type, token_name, parent, scopes, service, expires, actor, action,
       ip_address, event_time)
    SELECT deleted.token, username, token_type, token_name, subtoken.parent, scopes, service, expires,
           ${actor}, 'revoke', ${ipAddress}::inet, ${formatTimestamp(now)}::timestamp
    FROM deleted LEFT JOIN subtoken ON subtoken.child = deleted.token
    ORDER BY deleted.place`
}

/** Writes a `revoke` event for a token that has no row. */
export async function recordRevocation(
  db: Executable,
  token: StrayToken,
  { actor, ipAddress }: Origin,
  now: Date,
): Promise<void> {
  const expires = token.expiresAt && formatTimestamp(token.expiresAt)
  await db.$executeRaw`
    INSERT INTO token_change_history
      (token, username, token_type, scopes, service, expires, actor, action, ip_address, event_time)
    VALUES (${token.key}, ${token.username}, ${token.type}::tokentype, ${formatScopes(token.scopes)},
            ${token.service}, ${expires}::timestamp, ${actor}, 'revoke', ${ipAddress}::inet,
            ${formatTimestamp(now)}::timestamp)`
}

/**
 * Changes the rows, and writes an `edit` event for each, in the order of `edits`.
 *
 * @throws {PorthorError} `DUPLICATE_TOKEN_NAME`
 */
export async function editRows(
  db: Executable,
  edits: readonly TokenEdit[],
  origin: Origin,
  now: Date,
): Promise<void> {
  for (const slice of slicesOf(edits, ROW_BATCH_SIZE)) await editSlice(db, slice, origin, now)
}

async function editSlice(
  db: Executable,
  edits: readonly TokenEdit[],
  { actor, ipAddress }: Origin,
  now: Date,
): Promise<void> {
  const rows = edits.map(({ key, tokenName, scopes, expiresAt, old }) => ({
    key,
    name: tokenName,
    scopes: formatScopes(scopes),
    expires: expiresAt && formatTimestamp(expiresAt),
    old_name: old.tokenName ?? null,
    old_scopes: old.scopes ? formatScopes(old.scopes) : null,
    old_expires: old.expiresAt ? formatTimestamp(old.expiresAt) : null,
  }))
  try {
    await db.$executeRaw`
      WITH edit AS (
        SELECT * FROM ROWS FROM (
          json_to_recordset(${JSON.stringify(rows)}::json) AS (
            key text, name text, scopes text, expires timestamp, old_name text, old_scopes text,
            old_expires timestamp)
        ) WITH ORDINALITY AS edit (key, name, scopes, expires, old_name, old_scopes, old_expires, place)
      ), edited AS (
        UPDATE token SET token_name = edit.name, scopes = edit.scopes, expires = edit.expires
        FROM edit WHERE token.token = edit.key
        RETURNING token.username, token.token_type, token.service, edit.*
      )
      INSERT INTO token_change_history
        (token, username, token_type, token_name, parent, scopes, service, expires, actor, action,
         old_token_name, old_scopes, old_expires, ip_address, event_time)
      SELECT key, username, token_type, name, subtoken.parent, scopes, service, expires, ${actor}, 'edit',
             old_name, old_scopes, old_expires, ${ipAddress}::inet, ${formatTimestamp(now)}::timestamp
      FROM edited LEFT JOIN subtoken ON subtoken.child = edited.key
      ORDER BY place`
  } catch (error) {
    const name = edits.find(({ old }) => old.tokenName !== undefined)?.tokenName
    if (name != null && isUniqueViolation(error)) throw duplicateTokenName(name)
    throw error
  }
}
