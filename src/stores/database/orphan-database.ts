import type { TokenKey } from '../../domain/token.ts'
import { Prisma, type PrismaClient } from '../../generated/prisma/client.ts'
import { callStore } from '../unavailable.ts'
import { formatTimestamp } from './timestamp.ts'

/** Rows that one statement reads. */
const PAGE_SIZE = 20_000

/** Orphans that one statement returns: each is revoked with its tree before the next ones are read. */
const BATCH_SIZE = 500

/** Finds valid delegated tokens whose parent has no row: a revocation of the parent does not reach them any more. */
export class OrphanDatabase {
  readonly #prisma: PrismaClient

  constructor(prisma: PrismaClient) {
    this.#prisma = prisma
  }

  /** Returns some valid tokens whose lineage has lost its parent. Call it again when these are revoked. */
  async findOrphans(now: Date): Promise<TokenKey[]> {
    const rows = await callStore(
      'postgres',
      () => this.#prisma.$queryRaw<{ token: TokenKey }[]>`
        SELECT token.token FROM subtoken JOIN token ON token.token = subtoken.child
        WHERE subtoken.parent IS NULL AND ${isLive(now)} LIMIT ${BATCH_SIZE}::int`,
    )
    return rows.map(({ token }) => token)
  }

  /** Yields valid internal and notebook tokens without lineage, in batches. Reads the whole table. */
  async *findWithoutLineage(now: Date): AsyncIterable<readonly TokenKey[]> {
    let last: string | null = ''
    do {
      const [page]: { last: string | null; orphans: TokenKey[] }[] = await callStore(
        'postgres',
        () => this.#prisma.$queryRaw`
          WITH page AS MATERIALIZED (
            SELECT token, token_type, expires FROM token WHERE token > ${last} ORDER BY token LIMIT ${PAGE_SIZE}::int
          )
          SELECT (SELECT token FROM page ORDER BY token DESC LIMIT 1) AS last, ARRAY (
            SELECT token FROM page AS token
            WHERE token_type IN ('internal', 'notebook') AND ${isLive(now)}
              AND NOT EXISTS (SELECT FROM subtoken WHERE child = token.token)
          ) AS orphans`,
      )
      last = page?.last ?? null
      if (page && page.orphans.length > 0) yield page.orphans
    } while (last !== null)
  }

  /** Returns valid tokens that the history shows as delegated from one of `parents`, and whose lineage has lost its parent. */
  async findOrphansOf(parents: readonly TokenKey[], now: Date): Promise<TokenKey[]> {
    const rows = await callStore(
      'postgres',
      () => this.#prisma.$queryRaw<{ token: TokenKey }[]>`
        SELECT DISTINCT token.token FROM token_change_history AS history
        JOIN token ON token.token = history.token
        JOIN subtoken ON subtoken.child = token.token
        WHERE history.parent = ANY (${parents}) AND history.action = 'create'
          AND subtoken.parent IS NULL AND ${isLive(now)}`,
    )
    return rows.map(({ token }) => token)
  }

  /** Returns those of `keys` that have a row. */
  async findRows(keys: readonly TokenKey[]): Promise<ReadonlySet<TokenKey>> {
    const rows = await callStore(
      'postgres',
      () =>
        this.#prisma.$queryRaw<{ token: TokenKey }[]>`SELECT token FROM token WHERE token = ANY (${keys})`,
    )
    return new Set(rows.map(({ token }) => token))
  }
}

const isLive = (now: Date): Prisma.Sql =>
  Prisma.sql`(token.expires IS NULL OR token.expires > ${formatTimestamp(now)}::timestamp)`
