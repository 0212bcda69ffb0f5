import { parseScopes, type Scopes } from '../../domain/scope.ts'
import type { TokenKey } from '../../domain/token.ts'
import { Prisma, type PrismaClient } from '../../generated/prisma/client.ts'
import { CURRENT_TOKEN_LOCK_SEED } from './advisory-locks.ts'

/** Scopes and expiry in a row that the transaction holds. */
export interface HeldToken {
  readonly scopes: Scopes
  readonly expiresAt: Date | null
}

/** The row of a current token. */
export interface HeldCurrentToken extends HeldToken {
  /** Whether the token has a parent, and is revoked with it. */
  readonly hasParent: boolean
}

/** A transaction that can hold its current token. */
export interface TokenHolder {
  /**
   * Locks the token's row, so that the token cannot be revoked before this transaction ends. Returns `undefined` if there is
   * no row, or the revocation of the token or of one of its ancestors is recorded.
   */
  hold(key: TokenKey): Promise<HeldCurrentToken | undefined>
  /**
   * Whether the revocation of the token or of one of its ancestors is recorded. Must be called after `hold`, in its own
   * statement: that of `hold` may have waited, and does not see what was recorded meanwhile.
   */
  isBeingRevoked(key: TokenKey): Promise<boolean>
}

type Queryable = Pick<PrismaClient, '$queryRaw'>

/**
 * Returns a term of `WITH RECURSIVE`: `line`, the keys of tokens and their ancestors. UNION also ends if they form a cycle.
 */
export const lineageOf = (...keys: readonly TokenKey[]): Prisma.Sql => Prisma.sql`
  line (key) AS (
    (${Prisma.join(
      keys.map((key) => Prisma.sql`SELECT ${key}::text COLLATE "C"`),
      ' UNION ',
    )})
    UNION
    SELECT subtoken.parent COLLATE "C" FROM line JOIN subtoken ON subtoken.child = line.key WHERE subtoken.parent IS NOT NULL
  )`

/** Condition: the revocation of a token in `line` is recorded. */
const IS_DECIDED = Prisma.sql`EXISTS (
  SELECT FROM line JOIN porthor_pending_change AS pending ON pending.token = line.key WHERE pending.action = 'revoke')`

/**
 * Condition for holding a token, with its `line`. It is evaluated, and waits, before the row is locked.
 *
 * PostgreSQL grants a shared row lock even while another transaction waits to change the row, so that many requests with a
 * token could delay its revocation for ever. Therefore no transaction holds a token after its revocation is recorded, and
 * the completion waits only for those that already do. Advisory locks are granted in the order of the requests, so that
 * an edit is not delayed either. Every transaction takes them in the order of their numbers: no two wait for each other.
 */
export const MAY_BE_HELD = Prisma.sql`NOT ${IS_DECIDED} AND (
  SELECT count(pg_advisory_xact_lock_shared(number)::text)
  FROM (SELECT hashtextextended(line.key, ${CURRENT_TOKEN_LOCK_SEED}) AS number FROM line ORDER BY 1) AS numbers) > 0`

export async function holdToken(db: Queryable, key: TokenKey): Promise<HeldCurrentToken | undefined> {
  const [row] = await db.$queryRaw<{ scopes: string; expires: Date | null; hasParent: boolean }[]>`
    WITH RECURSIVE ${lineageOf(key)}
    SELECT scopes, expires, EXISTS (SELECT FROM subtoken WHERE child = ${key}) AS "hasParent"
    FROM token WHERE token = ${key} AND ${MAY_BE_HELD} FOR KEY SHARE OF token`
  return row && { scopes: parseScopes(row.scopes), expiresAt: row.expires, hasParent: row.hasParent }
}

/**
 * Waits for transactions that hold the edited token or a descendant. Later ones wait until this transaction ends. Takes
 * the locks for holding the current token in the same statement, so that two tokens that edit each other do not deadlock.
 */
export async function lockForEdit(
  db: Queryable,
  edited: TokenKey,
  current: TokenKey | undefined,
): Promise<void> {
  await db.$queryRaw`
    WITH RECURSIVE ${lineageOf(current ?? edited)}, numbers AS MATERIALIZED (
      SELECT hashtextextended(key, ${CURRENT_TOKEN_LOCK_SEED}) AS number, bool_or(key = ${edited}) AS is_edited
      FROM (
        SELECT key FROM line WHERE ${current !== undefined} UNION SELECT ${edited}::text COLLATE "C"
      ) AS keys (key)
      GROUP BY 1 ORDER BY 1
    )
    SELECT count(CASE WHEN is_edited THEN pg_advisory_xact_lock(number)::text
                      ELSE pg_advisory_xact_lock_shared(number)::text END) FROM numbers`
}

/** See `TokenHolder.isBeingRevoked`. */
export async function isTokenBeingRevoked(db: Queryable, key: TokenKey): Promise<boolean> {
  const [row] = await db.$queryRaw<{ isDecided: boolean }[]>`
    WITH RECURSIVE ${lineageOf(key)} SELECT ${IS_DECIDED} AS "isDecided"`
  return row?.isDecided === true
}
