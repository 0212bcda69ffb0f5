import { parseScopes, type Scopes } from '../../domain/scope.ts'
import type { TokenKey } from '../../domain/token.ts'
import { Prisma, type PrismaClient } from '../../generated/prisma/client.ts'
import { CURRENT_TOKEN_LOCK_SEED } from './advisory-locks.ts'

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
  /**
   * Takes the token's row, so that it cannot be revoked before this transaction ends. `undefined` without one, and where
   * a revocation of the token or of one of its ancestors is decided.
   */
  hold(key: TokenKey): Promise<HeldCurrentToken | undefined>
  /**
   * Whether a revocation of the token or of one of its ancestors is decided. To be called once its row is held, in a
   * statement of its own: the one that held it may have waited, and does not see what was decided meanwhile.
   */
  isBeingRevoked(key: TokenKey): Promise<boolean>
}

type Queryable = Pick<PrismaClient, '$queryRaw'>

/**
 * A term of `WITH RECURSIVE`: `line`, the keys of a token and of its ancestors. UNION ends in a circle too.
 */
export const lineageOf = (key: TokenKey): Prisma.Sql => Prisma.sql`
  line (key) AS (
    SELECT ${key}::text COLLATE "C"
    UNION
    SELECT subtoken.parent COLLATE "C" FROM line JOIN subtoken ON subtoken.child = line.key WHERE subtoken.parent IS NOT NULL
  )`

/** Whether the revocation of one of `line` is decided. */
const IS_DECIDED = Prisma.sql`EXISTS (
  SELECT FROM line JOIN porthor_pending_change AS pending ON pending.token = line.key WHERE pending.action = 'revoke')`

/**
 * The condition on which a token is held, with `line` of it. Looks and waits before the row is locked.
 *
 * PostgreSQL lets who shares a row past who waits to change it, so that a flood of requests with a token could keep off
 * the end of that token or of one above it. Once a revocation is decided nobody holds a token below it any more, and
 * its completion waits for those alone who do already. An edit has its turn by an advisory lock on the edited token,
 * which are given in the order in which they were asked for.
 */
export const MAY_BE_HELD = Prisma.sql`NOT ${IS_DECIDED} AND (
  SELECT count(pg_advisory_xact_lock_shared(hashtextextended(line.key, ${CURRENT_TOKEN_LOCK_SEED}))::text) FROM line) > 0`

export async function holdToken(db: Queryable, key: TokenKey): Promise<HeldCurrentToken | undefined> {
  const [row] = await db.$queryRaw<{ scopes: string; expires: Date | null; hasParent: boolean }[]>`
    WITH RECURSIVE ${lineageOf(key)}
    SELECT scopes, expires, EXISTS (SELECT FROM subtoken WHERE child = ${key}) AS "hasParent"
    FROM token WHERE token = ${key} AND ${MAY_BE_HELD} FOR KEY SHARE OF token`
  return row && { scopes: parseScopes(row.scopes), expiresAt: row.expires, hasParent: row.hasParent }
}

/** Waits for those who hold this token or one below it, and has later ones wait until the transaction ends. */
export async function lockCurrentToken(db: Queryable, key: TokenKey): Promise<void> {
  await db.$queryRaw`SELECT pg_advisory_xact_lock(hashtextextended(${key}, ${CURRENT_TOKEN_LOCK_SEED}))::text`
}

/** As `TokenHolder.isBeingRevoked`. */
export async function isTokenBeingRevoked(db: Queryable, key: TokenKey): Promise<boolean> {
  const [row] = await db.$queryRaw<{ isDecided: boolean }[]>`
    WITH RECURSIVE ${lineageOf(key)} SELECT ${IS_DECIDED} AS "isDecided"`
  return row?.isDecided === true
}
