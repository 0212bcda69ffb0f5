import type { AuditedRow, HistoryIds } from '../../domain/audit.ts'
import { INTERNAL_ACTOR } from '../../domain/history.ts'
import { parseScopes } from '../../domain/scope.ts'
import type { TokenKey } from '../../domain/token.ts'
import { Prisma, type PrismaClient } from '../../generated/prisma/client.ts'
import { callStore } from '../unavailable.ts'
import { formatTimestamp } from './timestamp.ts'

type Row = Omit<AuditedRow, 'scopes'> & { readonly scopes: string }

/** The largest `integer` of PostgreSQL. */
const MAX_INTEGER = 2 ** 31 - 1

/** Reads the rows and history events that an audit needs. */
export class AuditDatabase {
  readonly #prisma: PrismaClient

  constructor(prisma: PrismaClient) {
    this.#prisma = prisma
  }

  /** Yields all rows by key, in batches of at most `size`. A row that is inserted or deleted meanwhile may be missing. */
  async *rows(size: number): AsyncIterable<readonly AuditedRow[]> {
    let page: AuditedRow[]
    let after = ''
    do {
      page = await this.#query(Prisma.sql`WHERE token.token > ${after} ORDER BY token.token LIMIT ${size}`)
      after = page.at(-1)?.key ?? ''
      if (page.length > 0) yield page
    } while (page.length === size)
  }

  /** Returns the current rows of those `keys` that have one. */
  find(keys: readonly TokenKey[]): Promise<AuditedRow[]> {
    return this.#query(Prisma.sql`WHERE token.token = ANY (${keys}) ORDER BY token.token`)
  }

  /** Returns those of `keys` that were edited later than `since`. Repairs by an audit do not count. */
  async editedSince(keys: readonly TokenKey[], since: Date): Promise<ReadonlySet<TokenKey>> {
    const rows = await callStore(
      'postgres',
      () =>
        this.#prisma.$queryRaw<{ token: TokenKey }[]>`
        SELECT DISTINCT token FROM token_change_history
        WHERE token = ANY (${keys}) AND action = 'edit' AND actor <> ${INTERNAL_ACTOR}
          AND event_time > ${formatTimestamp(since)}::timestamp`,
    )
    return new Set(rows.map(({ token }) => token))
  }

  /** Returns the last and the maximum id of history events; `undefined` if the column has 64 bits. */
  async historyIds(): Promise<HistoryIds | undefined> {
    const [row] = await callStore(
      'postgres',
      () =>
        this.#prisma.$queryRaw<{ last: number | null; isNarrow: boolean }[]>`
        SELECT pg_sequence_last_value(sequence)::float8 AS last, is_narrow AS "isNarrow"
        FROM (
          SELECT pg_get_serial_sequence('token_change_history', 'id')::regclass AS sequence,
                 atttypid = 'integer'::regtype AS is_narrow
          FROM pg_attribute WHERE attrelid = 'token_change_history'::regclass AND attname = 'id'
        ) AS ids WHERE has_sequence_privilege(sequence, 'USAGE, SELECT')`,
    )
    return row?.isNarrow && row.last !== null ? { last: row.last, max: MAX_INTEGER } : undefined
  }

  async #query(rest: Prisma.Sql): Promise<AuditedRow[]> {
    const rows = await callStore('postgres', () =>
      this.#prisma.$queryRaw<Row[]>(Prisma.sql`
        SELECT token.token AS key, token.username, token.token_type::text AS type,
               token.token_name AS "tokenName", token.scopes, token.created AS "createdAt",
               token.expires AS "expiresAt", subtoken.child IS NOT NULL AS "isDelegated",
               subtoken.parent AS "parentKey", parent.expires AS "parentExpiresAt"
        FROM token LEFT JOIN subtoken ON subtoken.child = token.token
          LEFT JOIN token AS parent ON parent.token = subtoken.parent ${rest}`),
    )
    return rows.map((row) => ({ ...row, scopes: parseScopes(row.scopes) }))
  }
}
