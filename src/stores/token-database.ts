import type { ChildRecord, DelegationShape } from '../domain/delegation.ts'
import { shapeLockId } from '../domain/delegation.ts'
import type { Origin, TokenRecord } from '../domain/history.ts'
import { formatScopes, parseScopes } from '../domain/scope.ts'
import type { TokenKey } from '../domain/token.ts'
import { duplicateTokenName } from '../domain/user.ts'
import { Prisma, type PrismaClient, type Token as TokenRow } from '../generated/prisma/client.ts'
import { type HeldToken, holdToken, isTokenBeingRevoked, type TokenHolder } from './current-token.ts'
import { expireNamed } from './expiry.ts'
import { formatTimestamp } from './timestamp.ts'
import { TreeTransaction } from './tree-transaction.ts'
import { asking } from './unavailable.ts'
import { isUniqueViolation } from './unique-violation.ts'

export type { TokenRow }

/** The columns and relations that a GraphQL query asked for, as the Pothos Prisma plugin names them. */
export type TokenSelection = Prisma.TokenDefaultArgs

/** What both the database and one of its transactions can be asked. */
type Queryable = Pick<PrismaClient, '$queryRaw' | '$executeRaw'>

/** How long a change of whole trees may take in all, in milliseconds; any one statement is bounded too. */
const TREE_TIMEOUT_MS = 120_000

/**
 * Metadata and lineage of tokens in PostgreSQL, and the history of their changes. Every method may
 * throw `UnavailableError`.
 */
export class TokenDatabase {
  readonly #prisma: PrismaClient

  constructor(prisma: PrismaClient) {
    this.#prisma = prisma
  }

  /** The children that are asked for, the longest-lived first. */
  findChildren(query: ChildQuery): Promise<ChildRecord[]> {
    return asking('postgres', () => findChildren(this.#prisma, query))
  }

  /**
   * Runs `work` in one transaction: committed when it resolves, undone when it throws.
   *
   * @throws {UnavailableError} also when the commit's fate is unknown.
   */
  transaction<T>(work: (tx: TokenTransaction) => Promise<T>): Promise<T> {
    return asking('postgres', () => this.#prisma.$transaction((tx) => work(new TokenTransaction(tx))))
  }

  /** As `transaction`, for changes that reach whole trees and may take their time. */
  changeTrees<T>(work: (tx: TreeTransaction) => Promise<T>): Promise<T> {
    return asking('postgres', () =>
      this.#prisma.$transaction((tx) => work(new TreeTransaction(tx)), { timeout: TREE_TIMEOUT_MS }),
    )
  }

  /** Whether all of these tokens have a row. */
  async haveTokens(keys: readonly TokenKey[]): Promise<boolean> {
    const found = await asking('postgres', () =>
      this.#prisma.token.count({ where: { key: { in: [...keys] } } }),
    )
    return found === keys.length
  }

  async ping(): Promise<void> {
    await asking('postgres', () => this.#prisma.$queryRaw`SELECT 1`)
  }
}

/** The steps that change tokens, each a round trip; only inside `TokenDatabase.transaction`. */
export class TokenTransaction implements TokenHolder {
  readonly #tx: Queryable

  constructor(tx: Prisma.TransactionClient) {
    this.#tx = tx
  }

  /**
   * Takes the parent's row, so that it cannot be revoked before this transaction ends, and then the
   * lock on the shape, so that no other process makes the same child meanwhile.
   *
   * @returns `undefined` when the database has no such parent; nothing is locked then.
   */
  async lockForDelegation(shape: DelegationShape): Promise<HeldToken | undefined> {
    // MATERIALIZED fixes the order: the row first, then the advisory lock.
    const rows = await this.#tx.$queryRaw<{ scopes: string; expires: Date | null }[]>`
      WITH parent AS MATERIALIZED (
        SELECT scopes, expires FROM token WHERE token = ${shape.parentKey} FOR KEY SHARE
      )
      SELECT scopes, expires, pg_advisory_xact_lock(${shapeLockId(shape)})::text FROM parent`
    const [row] = rows
    return row && { scopes: parseScopes(row.scopes), expiresAt: row.expires }
  }

  hold(key: TokenKey): Promise<HeldToken | undefined> {
    return holdToken(this.#tx, key)
  }

  isBeingRevoked(key: TokenKey): Promise<boolean> {
    return isTokenBeingRevoked(this.#tx, key)
  }

  /** As `TokenDatabase.findChildren`, with all that was committed until now. */
  findChildren(query: ChildQuery): Promise<ChildRecord[]> {
    return findChildren(this.#tx, query)
  }

  /**
   * Writes the token, its lineage where it has a parent, and the `create` entry of its history, in one
   * statement: one round trip, and foreign keys are checked at its end.
   *
   * @param unless Write nothing where there is such a child already: `findChildren` has it then.
   * @returns Whether the token was written.
   * @throws {PorthorError} `DUPLICATE_TOKEN_NAME`, when the user has a token of that name.
   */
  async insert(token: TokenRecord, { actor, ipAddress }: Origin, unless?: ChildQuery): Promise<boolean> {
    const { key, username, type, tokenName, service, parentKey } = token
    const scopes = formatScopes(token.scopes)
    const created = formatTimestamp(token.createdAt)
    const expires = token.expiresAt && formatTimestamp(token.expiresAt)
    if (tokenName !== null) await expireNamed(this.#tx, username, tokenName, token.createdAt)
    const isVacant = unless ? Prisma.sql`NOT EXISTS (${selectChildren(unless)})` : Prisma.sql`true`
    try {
      const written = await this.#tx.$executeRaw`
        WITH vacant AS MATERIALIZED (
          SELECT WHERE ${isVacant}
        ), new_token AS (
          INSERT INTO token (token, username, token_type, token_name, scopes, service, created, expires)
          SELECT ${key}, ${username}, ${type}::tokentype, ${tokenName}, ${scopes}, ${service},
                 ${created}::timestamp, ${expires}::timestamp
          FROM vacant
        ), lineage AS (
          INSERT INTO subtoken (child, parent)
          SELECT ${key}, ${parentKey} FROM vacant WHERE ${parentKey}::text IS NOT NULL
        )
        INSERT INTO token_change_history
          (token, username, token_type, token_name, parent, scopes, service, expires, actor, action,
           ip_address, event_time)
        SELECT ${key}, ${username}, ${type}::tokentype, ${tokenName}, ${parentKey}, ${scopes}, ${service},
               ${expires}::timestamp, ${actor}, 'create', ${ipAddress}::inet, ${created}::timestamp
        FROM vacant`
      return written > 0
    } catch (error) {
      if (tokenName !== null && isUniqueViolation(error)) throw duplicateTokenName(tokenName)
      throw error
    }
  }
}

/** Children of this very shape that end at `earliestEnd` or later. */
export interface ChildQuery {
  readonly shape: DelegationShape
  readonly earliestEnd: Date
}

async function findChildren(db: Queryable, query: ChildQuery): Promise<ChildRecord[]> {
  const rows = await db.$queryRaw<{ token: TokenKey; expires: Date }[]>`
    ${selectChildren(query)} ORDER BY match.expires DESC, match.created DESC, match.token`
  return rows.map((row) => ({ ...query.shape, key: row.token, expiresAt: row.expires }))
}

/**
 * OFFSET 0 keeps the conditions out of the look-up, which is then by the primary key. The planner would else
 * look at every token of the user for each child, while it knows little of the tables, as on a new database.
 */
const selectChildren = ({ shape, earliestEnd }: ChildQuery): Prisma.Sql => Prisma.sql`
  SELECT match.token, match.expires
  FROM subtoken CROSS JOIN LATERAL (SELECT * FROM token WHERE token = subtoken.child OFFSET 0) AS match
  WHERE subtoken.parent = ${shape.parentKey} AND match.username = ${shape.username}
    AND match.token_type = ${shape.type}::tokentype AND match.service IS NOT DISTINCT FROM ${shape.service}
    AND match.scopes = ${formatScopes(shape.scopes)}
    AND match.expires >= ${formatTimestamp(earliestEnd)}::timestamp`
