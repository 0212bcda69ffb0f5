import type pg from 'pg'
import type { Position } from '../src/domain/page.ts'

export interface Person {
  readonly username: string
  /** IPv4. */
  readonly ipAddress: string
}

/** Values of a filled database to query for. */
export interface Samples {
  /** The user with the most tokens, and one with a typical number. */
  readonly busy: Person
  readonly usual: Person
  /** Positions at the end of page 999. */
  readonly thousandthToken: Position
  readonly thousandthChange: Position
  readonly tree: {
    readonly parent: string
    readonly parents: readonly string[]
    readonly children: readonly string[]
  }
  readonly day: { readonly since: Date; readonly until: Date }
}

const END_OF_PAGE_999 = 999 * 50 - 1
const DAY_MS = 24 * 60 * 60 * 1000

export async function findSamples(client: pg.Client): Promise<Samples> {
  const one = async <T extends pg.QueryResultRow>(sql: string, values: unknown[] = []): Promise<T> => {
    const { rows } = await client.query<T>(sql, values)
    if (!rows[0]) throw new Error(`the query returned no row: ${sql}`)
    return rows[0]
  }
  const person = (rank: number) =>
    one<Person>(
      `SELECT username, host(max(ip_address)) AS "ipAddress" FROM token_change_history
       WHERE family(ip_address) = 4 AND username IN (SELECT username FROM token) AND username LIKE 'user%'
       GROUP BY username ORDER BY count(*) DESC OFFSET $1 LIMIT 1`,
      [rank],
    )
  const { users } = await one<{ users: number }>('SELECT count(DISTINCT username)::int AS users FROM token')
  const position = (table: string, time: string, tie: string) =>
    one<Position>(
      `SELECT to_char(${time}, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at, ${tie}::text AS tie FROM ${table}
       ORDER BY ${time} DESC, ${tie} DESC OFFSET $1 LIMIT 1`,
      [END_OF_PAGE_999],
    ).then((found) => ({ at: new Date(found.at), tie: found.tie }))
  const { rows: lineage } = await client.query<{ child: string; parent: string }>(
    'SELECT DISTINCT ON (parent) child, parent FROM subtoken ORDER BY parent LIMIT 50',
  )
  const thousandthChange = await position('token_change_history', 'event_time', 'id')
  return {
    busy: await person(0),
    usual: await person(Math.round(users / 2)),
    thousandthToken: await position('token', 'created', 'token'),
    thousandthChange,
    tree: {
      parent: lineage[0]?.parent ?? '',
      parents: lineage.map(({ parent }) => parent),
      children: lineage.map(({ child }) => child),
    },
    day: { since: new Date(thousandthChange.at.getTime() - DAY_MS), until: thousandthChange.at },
  }
}
