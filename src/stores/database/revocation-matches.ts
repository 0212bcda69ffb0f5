import type { RevocationFilter } from '../../domain/filter.ts'
import type { TokenKey } from '../../domain/token.ts'
import { Prisma, type PrismaClient } from '../../generated/prisma/client.ts'
import { where } from './listing.ts'
import { formatTimestamp } from './timestamp.ts'

type Queryable = Pick<PrismaClient, '$queryRaw'>

/** Returns up to `limit` of the tokens that match, by key. */
export async function findMatches(
  db: Queryable,
  filter: RevocationFilter,
  limit: number,
): Promise<TokenKey[]> {
  const rows = await db.$queryRaw<{ token: TokenKey }[]>`
    SELECT token.token FROM token ${where(matching(filter))} ORDER BY token.token LIMIT ${limit}`
  return rows.map(({ token }) => token)
}

/** Returns the number of tokens that match or descend from one that does, and the first of their keys. */
export async function findTrees(
  db: Queryable,
  filter: RevocationFilter,
  first: number,
): Promise<{ count: number; keys: TokenKey[] }> {
  const rows = await db.$queryRaw<{ token: TokenKey; count: bigint }[]>`
    WITH RECURSIVE matches AS (
      SELECT token.token FROM token ${where(matching(filter))}
      UNION
      SELECT subtoken.child FROM subtoken JOIN matches ON matches.token = subtoken.parent
    )
    SELECT token, count(*) OVER () FROM matches LIMIT ${Math.max(first, 1)}`
  return { count: Number(rows[0]?.count ?? 0), keys: rows.slice(0, first).map(({ token }) => token) }
}

const matching = ({ username, service, type, ancestor, createdBefore }: RevocationFilter): Prisma.Sql[] => [
  ...(username === undefined ? [] : [Prisma.sql`token.username = ${username}`]),
  ...(service === undefined ? [] : [Prisma.sql`token.service = ${service}`]),
  ...(type === undefined ? [] : [Prisma.sql`token.token_type = ${type}::tokentype`]),
  ...(createdBefore === undefined
    ? []
    : [Prisma.sql`token.created < ${formatTimestamp(createdBefore)}::timestamp`]),
  ...(ancestor === undefined
    ? []
    : [
        Prisma.sql`token.token IN (
          WITH RECURSIVE below AS (
            SELECT child FROM subtoken WHERE parent = ${ancestor}
            UNION
            SELECT subtoken.child FROM subtoken JOIN below ON below.child = subtoken.parent
          )
          SELECT child FROM below)`,
      ]),
]
