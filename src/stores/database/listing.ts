import type { PageRequest, Position } from '../../domain/page.ts'
import { Prisma } from '../../generated/prisma/client.ts'
import { formatTimestamp } from './timestamp.ts'

/**
 * SQL of keyset pagination: lists are ordered by a time and a tie-breaker, newest first. A page begins at a position in that
 * order, which an index finds as fast for the last page as for the first.
 */

export interface Order {
  readonly time: Prisma.Sql
  readonly tie: Prisma.Sql
  /** SQL type of the tie-breaker. */
  readonly tieType: Prisma.Sql
}

export const TOKEN_ORDER: Order = {
  time: Prisma.sql`token.created`,
  tie: Prisma.sql`token.token`,
  tieType: Prisma.sql`text`,
}

export const CHANGE_ORDER: Order = {
  time: Prisma.sql`change.event_time`,
  tie: Prisma.sql`change.id`,
  tieType: Prisma.sql`integer`,
}

/** Columns of `token`, with the names of the Prisma model. */
export const TOKEN_COLUMNS = Prisma.sql`
  token.token AS key, token.username, token.token_type::text AS type, token.token_name AS "tokenName",
  token.scopes, token.service, token.created AS "createdAt", token.last_used AS "lastUsedAt",
  token.expires AS "expiresAt"`

/** Columns of `token_change_history AS change`, with the names of the Prisma model. */
export const CHANGE_COLUMNS = Prisma.sql`
  change.id, change.token, change.username, change.token_type::text AS type,
  change.token_name AS "tokenName", change.parent, change.scopes, change.service,
  change.expires AS "expiresAt", change.actor, change.action::text AS action,
  change.old_token_name AS "oldTokenName", change.old_scopes AS "oldScopes",
  change.old_expires AS "oldExpiresAt", host(change.ip_address) AS "ipAddress",
  change.event_time AS "eventTime"`

/** Returns `WHERE` with all `conditions`; empty SQL if there are no conditions. */
export const where = (conditions: readonly Prisma.Sql[]): Prisma.Sql =>
  conditions.length === 0 ? Prisma.empty : Prisma.sql`WHERE ${Prisma.join([...conditions], ' AND ')}`

/** Returns the conditions for a row to be within the bounds of the page. */
export function pageBounds(order: Order, { after, before }: PageRequest): Prisma.Sql[] {
  return [
    ...(after ? [Prisma.sql`(${order.time}, ${order.tie}) < ${position(order, after)}`] : []),
    ...(before ? [Prisma.sql`(${order.time}, ${order.tie}) > ${position(order, before)}`] : []),
  ]
}

const position = ({ tieType }: Order, { at, tie }: Position): Prisma.Sql =>
  Prisma.sql`(${formatTimestamp(at)}::timestamp, ${tie}::text::${tieType})`

/** Returns order and limit, with one row more than the page holds: that row shows that there is a next page. */
export function pageOrder({ time, tie }: Order, { from, size }: PageRequest): Prisma.Sql {
  return from === 'start'
    ? Prisma.sql`ORDER BY ${time} DESC, ${tie} DESC LIMIT ${size + 1}`
    : Prisma.sql`ORDER BY ${time}, ${tie} LIMIT ${size + 1}`
}

/** Groups rows by `of`, the key of their owner. */
export function groupByOwner<Row extends { readonly of: string }>(rows: readonly Row[]): Map<string, Row[]> {
  const groups = new Map<string, Row[]>()
  for (const row of rows) {
    const group = groups.get(row.of)
    if (group) group.push(row)
    else groups.set(row.of, [row])
  }
  return groups
}

export const mapValues = <K, A, B>(map: ReadonlyMap<K, A>, change: (value: A) => B): Map<K, B> =>
  new Map([...map].map(([key, value]) => [key, change(value)]))
