import { INTERNAL_ACTOR } from '../../domain/history.ts'
import type { TokenKey } from '../../domain/token.ts'
import { Prisma, type PrismaClient } from '../../generated/prisma/client.ts'
import { expiryCutoff } from './database-clock.ts'
import { formatTimestamp } from './timestamp.ts'

/** The database, or one of its transactions. */
export type Executable = Pick<PrismaClient, '$executeRaw'>

/**
 * Deletes up to `limit` tokens that have expired, with an `expire` entry for each. Rows that somebody
 * holds are left for the next time; the expiry is judged by the row as it is once it is locked.
 *
 * @returns How many rows were deleted.
 */
export const expireTokens = (db: Executable, now: Date, limit: number): Promise<number> =>
  expire(db, Prisma.sql`true`, now, limit)

/** The same for some of the children of one parent. */
export const expireChildren = (db: Executable, parentKey: TokenKey, now: Date): Promise<number> =>
  expire(
    db,
    Prisma.sql`token = ANY (ARRAY (SELECT child FROM subtoken WHERE parent = ${parentKey}))`,
    now,
    1_000,
  )

/** The same for the token of that name, which it would otherwise keep until upkeep comes by. */
export const expireNamed = (
  db: Executable,
  username: string,
  tokenName: string,
  now: Date,
): Promise<number> => expire(db, Prisma.sql`username = ${username} AND token_name = ${tokenName}`, now, 1)

function expire(db: Executable, condition: Prisma.Sql, now: Date, limit: number): Promise<number> {
  const time = formatTimestamp(now)
  // Children before parents, as far as the limit goes: an entry names the parent while it has one.
  return db.$executeRaw`
    WITH doomed AS (
      SELECT token FROM token WHERE expires <= ${expiryCutoff(now)} AND ${condition}
      ORDER BY expires, created DESC LIMIT ${limit} FOR UPDATE SKIP LOCKED
    ), gone AS (
      DELETE FROM token USING doomed WHERE token.token = doomed.token RETURNING token.*
    )
    INSERT INTO token_change_history
      (token, username, token_type, token_name, parent, scopes, service, expires, actor, action, event_time)
    SELECT gone.token, username, token_type, token_name, subtoken.parent, scopes, service, expires,
           ${INTERNAL_ACTOR}, 'expire', ${time}::timestamp
    FROM gone LEFT JOIN subtoken ON subtoken.child = gone.token`
}
