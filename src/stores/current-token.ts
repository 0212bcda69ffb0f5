import { parseScopes, type Scopes } from '../domain/scope.ts'
import type { TokenKey } from '../domain/token.ts'
import type { PrismaClient } from '../generated/prisma/client.ts'

/** What a row grants while the transaction holds it. */
export interface HeldToken {
  readonly scopes: Scopes
  readonly expiresAt: Date | null
}

/** A current token's row. */
export interface HeldCurrentToken extends HeldToken {
  /** Whether the token was made by another one, and is revoked with it. */
  readonly hasParent: boolean
}

/** A transaction that can hold the token that it is run for. */
export interface TokenHolder {
  /** Takes the token's row, so that it cannot be revoked before this transaction ends. `undefined` without one. */
  hold(key: TokenKey): Promise<HeldCurrentToken | undefined>
  /**
   * Whether a revocation of the token is decided. To be called once its row is held: a decision is made with the row
   * locked, so that none can follow.
   */
  isBeingRevoked(key: TokenKey): Promise<boolean>
}

type Queryable = Pick<PrismaClient, '$queryRaw'>

export async function holdToken(db: Queryable, key: TokenKey): Promise<HeldCurrentToken | undefined> {
  const [row] = await db.$queryRaw<{ scopes: string; expires: Date | null; hasParent: boolean }[]>`
    SELECT scopes, expires, EXISTS (SELECT FROM subtoken WHERE child = ${key}) AS "hasParent"
    FROM token WHERE token = ${key} FOR KEY SHARE`
  return row && { scopes: parseScopes(row.scopes), expiresAt: row.expires, hasParent: row.hasParent }
}

/** A statement of its own: one that waits for the row would not see what was committed meanwhile. */
export async function isTokenBeingRevoked(db: Queryable, key: TokenKey): Promise<boolean> {
  const rows = await db.$queryRaw<unknown[]>`
    SELECT FROM porthor_pending_change WHERE token = ${key} AND action = 'revoke'`
  return rows.length > 0
}
