import { parseScopes, type Scopes } from '../domain/scope.ts'
import type { TokenKey } from '../domain/token.ts'
import type { PrismaClient } from '../generated/prisma/client.ts'

/** What a row grants while the transaction holds it. */
export interface HeldToken {
  readonly scopes: Scopes
  readonly expiresAt: Date | null
}

/** A transaction that can hold the token that it is run for. */
export interface TokenHolder {
  /** Takes the token's row, so that it cannot be revoked before this transaction ends. `undefined` without one. */
  hold(key: TokenKey): Promise<HeldToken | undefined>
  /**
   * Whether a revocation of the token is decided. To be called once its row is held: a decision is made with the row
   * locked, so that none can follow.
   */
  isBeingRevoked(key: TokenKey): Promise<boolean>
}

type Queryable = Pick<PrismaClient, '$queryRaw'>

export async function holdToken(db: Queryable, key: TokenKey): Promise<HeldToken | undefined> {
  const [row] = await db.$queryRaw<{ scopes: string; expires: Date | null }[]>`
    SELECT scopes, expires FROM token WHERE token = ${key} FOR KEY SHARE`
  return row && { scopes: parseScopes(row.scopes), expiresAt: row.expires }
}

/** A statement of its own: one that waits for the row would not see what was committed meanwhile. */
export async function isTokenBeingRevoked(db: Queryable, key: TokenKey): Promise<boolean> {
  const rows = await db.$queryRaw<unknown[]>`
    SELECT FROM porthor_pending_change WHERE token = ${key} AND action = 'revoke'`
  return rows.length > 0
}
