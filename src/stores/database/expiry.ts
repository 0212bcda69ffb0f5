import { INTERNAL_ACTOR } from '../../domain/history.ts'
import type { TokenKey } from '../../domain/token.ts'
import { Prisma, type PrismaClient } from '../../generated/prisma/client.ts'
import { expiryCutoff } from './database-clock.ts'
import { formatTimestamp } from './timestamp.ts'

/** The database, or one of its transactions. */
export type Executable = Pick<PrismaClient, '$executeRaw'>

/**
 * Deletes the rows of up to `limit` expired tokens, and writes an `expire` event for each. Skips rows that another
 * transaction holds.
 *
 * @returns Number of deleted rows.
 */
export const expireTokens = (db: Executable, now: Date, limit: number): Promise<number> =>
  expire(db, Prisma.sql`true`, now, limit)

/** Does the same for some children of one parent. */
export const expireChildren = (db: Executable, parentKey: TokenKey, now: Date): Promise<number> =>
  expire(
    db,
    Prisma.sql`token = ANY (ARRAY (SELECT child FROM subtoken WHERE parent = ${parentKey}))`,
    now,
    1_000,
  )

/** Does the same for the token with this name, which could otherwise not be used again before maintenance. */
export const expireNamed = (
  db: Executable,
  username: string,
  tokenName: string,
  now: Date,
): Promise<number> => expire(db, Prisma.sql`username = ${username} AND token_name = ${tokenName}`, now, 1)

function expire(db: Executable, condition: Prisma.Sql, now: Date, limit: number): Promise<number> {
  const time = formatTimestamp(now)
  // Children before parents, within the limit: an event names the parent only while that has a row.
  return db.$executeRaw`
    WITH expired AS (
      SELECT token FROM token WHERE expires <= ${expiryCutoff(now)} AND ${condition}
      ORDER BY expires, created DESC LIMIT ${limit} FOR UPDATE SKIP LOCKED
    ), deleted AS (
      DELETE FROM token USING expired WHERE token.token = expired.token RETURNING token.*
    )
    INSERT INTO token_change_history
      (token, username, token_type, token_name, parent, scopes, service, expires, actor, action, event_time)
    SELECT deleted.token, username, token_type, token_name, subtoken.parent, scopes, service, expires,
           ${INTERNAL_ACTOR}, 'expire', ${time}::timestamp
    FROM deleted LEFT JOIN subtoken ON subtoken.child = deleted.token`
}
