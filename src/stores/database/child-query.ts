import type { ChildRecord, RequestKey } from '../../domain/delegation.ts'
import { formatScopes } from '../../domain/scope.ts'
import type { TokenKey } from '../../domain/token.ts'
import { Prisma, type PrismaClient } from '../../generated/prisma/client.ts'
import { formatTimestamp } from './timestamp.ts'

type Queryable = Pick<PrismaClient, '$queryRaw'>

/** Children with this request key that expire at `earliestEnd` or later. */
export interface ChildQuery {
  readonly shape: RequestKey
  readonly earliestEnd: Date
}

/** Returns the children that match, the last to expire first. */
export async function findChildren(db: Queryable, query: ChildQuery): Promise<ChildRecord[]> {
  const rows = await db.$queryRaw<{ token: TokenKey; expires: Date }[]>`
    SELECT token, expires FROM (${selectChildren(query)}) AS match ORDER BY expires DESC, created DESC, token`
  return rows.map((row) => ({ ...query.shape, key: row.token, expiresAt: row.expires }))
}

/** Maximum number of children that are read one by one, which takes less than a millisecond. */
const FEW_CHILDREN = 50

/**
 * Returns a query for the children that match. If the parent has few children, it reads these. If the parent has many, it
 * reads the user's tokens with the same request: these are few, unless the user has as many sessions.
 *
 * OFFSET 0 makes the planner use the primary keys. Without statistics, as on a new database, it would otherwise read every
 * token of the user for each child.
 */
export function selectChildren({ shape, earliestEnd }: ChildQuery): Prisma.Sql {
  const { parentKey, username, type, service } = shape
  const scopes = formatScopes(shape.scopes)
  const matches = Prisma.sql`match.token_type = ${type}::tokentype AND match.username = ${username}
    AND match.scopes = ${scopes} AND match.expires >= ${formatTimestamp(earliestEnd)}::timestamp`
  return Prisma.sql`
    WITH size AS MATERIALIZED (
      SELECT count(*) > ${FEW_CHILDREN}::int AS is_large
      FROM (SELECT FROM subtoken WHERE parent = ${parentKey} LIMIT ${FEW_CHILDREN + 1}::int) AS children
    )
    SELECT match.token, match.expires, match.created
    FROM subtoken CROSS JOIN LATERAL (SELECT * FROM token WHERE token = subtoken.child OFFSET 0) AS match
    WHERE NOT (SELECT is_large FROM size) AND subtoken.parent = ${parentKey}
      AND match.service IS NOT DISTINCT FROM ${service} AND ${matches}
    UNION ALL
    SELECT match.token, match.expires, match.created FROM token AS match
    WHERE (SELECT is_large FROM size) AND ${matches}
      AND match.token_type IN ('internal', 'notebook') AND coalesce(match.service, '') = ${service ?? ''}
      AND hashtextextended(match.scopes, 0) = hashtextextended(${scopes}, 0)
      AND EXISTS (SELECT FROM subtoken WHERE child = match.token AND parent = ${parentKey} OFFSET 0)`
}
