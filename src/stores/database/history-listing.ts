import type { Visibility } from '../../domain/actor.ts'
import type { ChangeFilter } from '../../domain/filter.ts'
import { type Page, type PageRequest, toPage } from '../../domain/page.ts'
import { type TokenChange as ChangeRow, Prisma, type PrismaClient } from '../../generated/prisma/client.ts'
import { callStore } from '../unavailable.ts'
import {
  CHANGE_COLUMNS,
  CHANGE_ORDER,
  groupByOwner,
  mapValues,
  pageBounds,
  pageOrder,
  where,
} from './listing.ts'
import { formatTimestamp } from './timestamp.ts'

export type { ChangeRow }

/**
 * Lists history events, which remain when their tokens are deleted. A method that takes several keys sends one statement.
 * All methods may throw `UnavailableError`.
 */
export class HistoryListing {
  readonly #prisma: PrismaClient

  constructor(prisma: PrismaClient) {
    this.#prisma = prisma
  }

  async list(filter: ChangeFilter, page: PageRequest): Promise<Page<ChangeRow>> {
    const rows = await this.#query<ChangeRow>(Prisma.sql`
      SELECT ${CHANGE_COLUMNS} FROM token_change_history AS change
      ${where([...conditions(filter), ...pageBounds(CHANGE_ORDER, page)])} ${pageOrder(CHANGE_ORDER, page)}`)
    return toPage(rows, page)
  }

  async count(filter: ChangeFilter): Promise<number> {
    const [row] = await this.#query<{ count: bigint }>(
      Prisma.sql`SELECT count(*) FROM token_change_history AS change ${where(conditions(filter))}`,
    )
    return Number(row?.count ?? 0)
  }

  /**
   * Returns the same page of the history of each token, without that of its children. All pages together have at most
   * `maxRows`; the rest is omitted.
   */
  async changesOf(
    tokens: readonly string[],
    username: Visibility,
    page: PageRequest,
    maxRows: number,
  ): Promise<Map<string, Page<ChangeRow>>> {
    const own = Prisma.sql`change.token = owner.key`
    const rows = await this.#query<ChangeRow & { readonly of: string }>(Prisma.sql`
      SELECT owner.key AS of, change.* FROM unnest(${tokens}::text[]) AS owner (key) CROSS JOIN LATERAL (
        SELECT ${CHANGE_COLUMNS} FROM token_change_history AS change
        ${where([own, ...visible(username), ...pageBounds(CHANGE_ORDER, page)])} ${pageOrder(CHANGE_ORDER, page)}
      ) AS change LIMIT ${maxRows}`)
    return mapValues(groupByOwner(rows), (group) => toPage(group, page))
  }

  async countChangesOf(tokens: readonly string[], username: Visibility): Promise<Map<string, number>> {
    const rows = await this.#query<{ of: string; count: bigint }>(Prisma.sql`
      SELECT change.token AS of, count(*) FROM token_change_history AS change
      ${where([Prisma.sql`change.token = ANY (${tokens})`, ...visible(username)])}
      GROUP BY change.token`)
    return new Map(rows.map(({ of, count }) => [of, Number(count)]))
  }

  /** Returns for each of these events whether its expiry differs from that of the previous event of the same token. */
  async expiryChangesOf(ids: readonly number[]): Promise<Map<number, boolean>> {
    const rows = await this.#query<{ id: number; changed: boolean }>(Prisma.sql`
      SELECT change.id, change.expires IS DISTINCT FROM previous.expires AS changed
      FROM token_change_history AS change CROSS JOIN LATERAL (
        SELECT earlier.expires FROM token_change_history AS earlier
        WHERE earlier.token = change.token
          AND (earlier.event_time, earlier.id) < (change.event_time, change.id)
        ORDER BY earlier.event_time DESC, earlier.id DESC LIMIT 1
      ) AS previous
      WHERE change.id = ANY (${ids})`)
    return new Map(rows.map(({ id, changed }) => [id, changed]))
  }

  #query<Row>(sql: Prisma.Sql): Promise<Row[]> {
    return callStore('postgres', () => this.#prisma.$queryRaw<Row[]>(sql))
  }
}

const visible = (username: Visibility): Prisma.Sql[] =>
  username === null ? [] : [Prisma.sql`change.username = ${username}`]

function conditions(filter: ChangeFilter): Prisma.Sql[] {
  const { username, actor, key, token, type, since, until, ipAddress } = filter
  return [
    ...(username === undefined ? [] : [Prisma.sql`change.username = ${username}`]),
    ...(actor === undefined ? [] : [Prisma.sql`change.actor = ${actor}`]),
    ...(key === undefined ? [] : [Prisma.sql`(change.token = ${key} OR change.parent = ${key})`]),
    ...(token === undefined ? [] : [Prisma.sql`change.token = ${token}`]),
    ...(type === undefined ? [] : [Prisma.sql`change.token_type = ${type}::tokentype`]),
    ...(since === undefined ? [] : [Prisma.sql`change.event_time >= ${formatTimestamp(since)}::timestamp`]),
    ...(until === undefined ? [] : [Prisma.sql`change.event_time <= ${formatTimestamp(until)}::timestamp`]),
    ...(ipAddress === undefined
      ? []
      : [
          ipAddress.isBlock
            ? Prisma.sql`change.ip_address <<= ${ipAddress.text}::inet`
            : Prisma.sql`change.ip_address = ${ipAddress.text}::inet`,
        ]),
  ]
}
