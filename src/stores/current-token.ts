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

/** Names the advisory lock in which who holds a token and who changes it wait for each other. Any number would do. */
const TURN = 0x7475_726e

/**
 * PostgreSQL lets who shares a row past who waits to change it: a flood of requests with one token could keep off its own
 * revocation. Advisory locks are given in the order in which they were asked for.
 */
export async function holdToken(db: Queryable, key: TokenKey): Promise<HeldCurrentToken | undefined> {
  const [row] = await db.$queryRaw<{ scopes: string; expires: Date | null; hasParent: boolean }[]>`
    WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(hashtextextended(${key}, ${TURN}))::text)
    SELECT scopes, expires, EXISTS (SELECT FROM subtoken WHERE child = ${key}) AS "hasParent"
    FROM token CROSS JOIN turn WHERE token = ${key} FOR KEY SHARE OF token`
  return row && { scopes: parseScopes(row.scopes), expiresAt: row.expires, hasParent: row.hasParent }
}

/** Waits for those who hold these tokens now, and has later ones wait until the transaction ends. */
export async function waitForTurn(db: Queryable, keys: readonly TokenKey[]): Promise<void> {
  await db.$queryRaw`
    SELECT pg_advisory_xact_lock(hashtextextended(key, ${TURN}))::text FROM unnest(${keys.toSorted()}::text[]) AS key`
}

/** A statement of its own: one that waits for the row would not see what was committed meanwhile. */
export async function isTokenBeingRevoked(db: Queryable, key: TokenKey): Promise<boolean> {
  const rows = await db.$queryRaw<unknown[]>`
    SELECT FROM porthor_pending_change WHERE token = ${key} AND action = 'revoke'`
  return rows.length > 0
}
