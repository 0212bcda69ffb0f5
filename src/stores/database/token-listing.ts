import type { Visibility } from '../../domain/actor.ts'
import type { TokenFilter } from '../../domain/filter.ts'
import type { Page, PageRequest } from '../../domain/page.ts'
import { toPage } from '../../domain/page.ts'
import type { TokenKey } from '../../domain/token.ts'
import { Prisma, type PrismaClient } from '../../generated/prisma/client.ts'
import { callStore } from '../unavailable.ts'
import {
  groupByOwner,
  mapValues,
  pageBounds,
  pageOrder,
  TOKEN_COLUMNS,
  TOKEN_ORDER,
  where,
} from './listing.ts'
import type { TokenRow, TokenSelection } from './token-database.ts'

type Owned<Row> = Row & { readonly of: string }

/**
 * Lists tokens, their parents and their children. A method that takes several keys sends one statement. All methods may throw
 * `UnavailableError`.
 */
export class TokenListing {
  readonly #prisma: PrismaClient

  constructor(prisma: PrismaClient) {
    this.#prisma = prisma
  }

  find(key: TokenKey, username: Visibility, selection: TokenSelection): Promise<TokenRow | null> {
    const mine = username === null ? {} : { username }
    return callStore('postgres', () =>
      this.#prisma.token.findUnique({ ...selection, where: { key, ...mine } }),
    )
  }

  async list(filter: TokenFilter, page: PageRequest): Promise<Page<TokenRow>> {
    const rows = await this.#query<TokenRow>(Prisma.sql`
      SELECT ${TOKEN_COLUMNS} FROM token
      ${where([...conditions(filter), ...pageBounds(TOKEN_ORDER, page)])} ${pageOrder(TOKEN_ORDER, page)}`)
    return toPage(rows, page)
  }

  async count(filter: TokenFilter): Promise<number> {
    const [row] = await this.#query<{ count: bigint }>(
      Prisma.sql`SELECT count(*) FROM token ${where(conditions(filter))}`,
    )
    return Number(row?.count ?? 0)
  }

  /** The parent of each child that has one. */
  async parentsOf(children: readonly string[], username: Visibility): Promise<Map<string, TokenRow>> {
    const rows = await this.#query<Owned<TokenRow>>(Prisma.sql`
      SELECT subtoken.child AS of, ${TOKEN_COLUMNS}
      FROM subtoken JOIN token ON token.token = subtoken.parent
      ${where([Prisma.sql`subtoken.child = ANY (${children})`, ...visible(username)])}`)
    return new Map(rows.map(({ of, ...row }) => [of, row]))
  }

  /** The same page of each parent's children; of all pages together `maxRows` at the most, the rest is left out. */
  async childrenOf(
    parents: readonly string[],
    username: Visibility,
    page: PageRequest,
    maxRows: number,
  ): Promise<Map<string, Page<TokenRow>>> {
    const own = Prisma.sql`subtoken.parent = owner.key`
    const rows = await this.#query<Owned<TokenRow>>(Prisma.sql`
      SELECT owner.key AS of, token.* FROM unnest(${parents}::text[]) AS owner (key) CROSS JOIN LATERAL (
        SELECT ${TOKEN_COLUMNS} FROM subtoken JOIN token ON token.token = subtoken.child
        ${where([own, ...visible(username), ...pageBounds(TOKEN_ORDER, page)])} ${pageOrder(TOKEN_ORDER, page)}
      ) AS token LIMIT ${maxRows}`)
    return mapValues(groupByOwner(rows), (group) => toPage(group, page))
  }

  async countChildrenOf(parents: readonly string[], username: Visibility): Promise<Map<string, number>> {
    const rows = await this.#query<{ of: string; count: bigint }>(Prisma.sql`
      SELECT subtoken.parent AS of, count(*) FROM subtoken JOIN token ON token.token = subtoken.child
      ${where([Prisma.sql`subtoken.parent = ANY (${parents})`, ...visible(username)])}
      GROUP BY subtoken.parent`)
    return new Map(rows.map(({ of, count }) => [of, Number(count)]))
  }

  #query<Row>(sql: Prisma.Sql): Promise<Row[]> {
    return callStore('postgres', () => this.#prisma.$queryRaw<Row[]>(sql))
  }
}

const visible = (username: Visibility): Prisma.Sql[] =>
  username === null ? [] : [Prisma.sql`token.username = ${username}`]

const conditions = ({ username, type }: TokenFilter): Prisma.Sql[] => [
  ...(username === undefined ? [] : [Prisma.sql`token.username = ${username}`]),
  ...(type === undefined ? [] : [Prisma.sql`token.token_type = ${type}::tokentype`]),
]
