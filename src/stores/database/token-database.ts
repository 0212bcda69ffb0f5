import type { ChildRecord, DelegationLimits, RequestKey } from '../../domain/delegation.ts'
import type { NewTokenRow, Origin } from '../../domain/history.ts'
import { formatScopes, parseScopes } from '../../domain/scope.ts'
import { type TokenKey, toTokenKey } from '../../domain/token.ts'
import { duplicateTokenName } from '../../domain/user.ts'
import { Prisma, type PrismaClient, type Token as TokenRow } from '../../generated/prisma/client.ts'
import { callStore } from '../unavailable.ts'
import { parentLockKey, requestLockKey } from './advisory-locks.ts'
import { type ChildQuery, findChildren, selectChildren } from './child-query.ts'
import {
  type HeldCurrentToken,
  type HeldToken,
  holdToken,
  isTokenBeingRevoked,
  lineageOf,
  MAY_BE_HELD,
  type TokenHolder,
} from './current-token.ts'
import { expireChildren, expireNamed } from './expiry.ts'
import { findTransactionId } from './outcome.ts'
import { TRANSACTION_TIMEOUT_MS } from './prisma.ts'
import { formatTimestamp } from './timestamp.ts'
import { type Finished, runTransaction } from './transactions.ts'
import { TreeTransaction } from './tree-transaction.ts'
import { isUniqueViolation } from './unique-violation.ts'
import { requireWritable } from './writable.ts'

export type { TokenRow }

/** The columns and relations that a GraphQL query asked for, as the Pothos Prisma plugin names them. */
export type TokenSelection = Prisma.TokenDefaultArgs

/** What both the database and one of its transactions can be asked. */
type Queryable = Pick<PrismaClient, '$queryRaw' | '$executeRaw'>

/** How long it is looked up whether a transaction was committed whose connection was lost, in milliseconds. */
export const LOOKUP_TIMEOUT_MS = 2_000

/** How long a change of whole trees may take in all, in milliseconds; any one statement is bounded too. */
export const TREE_TIMEOUT_MS = 120_000

interface LockedRow {
  readonly scopes: string
  readonly expires: Date | null
  readonly depth: number
  readonly isCrowded: boolean
}

/** What the parent's row says while the transaction holds it. */
export interface LockedParent extends HeldToken {
  /** Delegated tokens in the chain of delegations that ends with the parent; none beyond the limit are counted. */
  readonly depth: number
  /**
   * Whether the parent may have as many children as it may have. Nobody else issues a child of it then before this
   * transaction ends.
   */
  readonly isCrowded: boolean
}

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
    return callStore('postgres', () => findChildren(this.#prisma, query))
  }

  /**
   * Runs `work` in one transaction: committed when it resolves, undone when it throws.
   *
   * `work` is run again where PostgreSQL gave it up for the sake of another transaction.
   *
   * @throws {UnavailableError} also when it cannot be found out whether it was committed.
   */
  transaction<T>(work: (tx: TokenTransaction) => Promise<T>): Promise<T> {
    return callStore('postgres', () =>
      runTransaction(this.#prisma, (tx) => finish(new TokenTransaction(tx), work), {
        timeoutMs: TRANSACTION_TIMEOUT_MS - LOOKUP_TIMEOUT_MS,
        lookupMs: LOOKUP_TIMEOUT_MS,
      }),
    )
  }

  /** As `transaction`, for changes that reach whole trees and may take their time. */
  changeTrees<T>(work: (tx: TreeTransaction) => Promise<T>): Promise<T> {
    return callStore('postgres', () =>
      runTransaction(
        this.#prisma,
        async (tx) => ({
          answer: await work(new TreeTransaction(tx)),
          transactionId: await findTransactionId(tx),
        }),
        {
          timeoutMs: TREE_TIMEOUT_MS,
          lookupMs: LOOKUP_TIMEOUT_MS,
        },
      ),
    )
  }

  /** What the rows of `keys` grant, as they are now. Those that have none are missing. */
  async findGrants(keys: readonly TokenKey[]): Promise<ReadonlyMap<TokenKey, HeldToken>> {
    const rows = await callStore('postgres', () =>
      this.#prisma.token.findMany({
        where: { key: { in: [...keys] } },
        select: { key: true, scopes: true, expiresAt: true },
      }),
    )
    return new Map(
      rows.map(({ key, scopes, expiresAt }) => [toTokenKey(key), { scopes: parseScopes(scopes), expiresAt }]),
    )
  }

  /** @throws {UnavailableError} also where PostgreSQL takes no writes, or not ours. */
  async ping(): Promise<void> {
    await callStore('postgres', () => requireWritable(this.#prisma))
  }
}

async function finish<T>(
  tx: TokenTransaction,
  work: (tx: TokenTransaction) => Promise<T>,
): Promise<Finished<T>> {
  const answer = await work(tx)
  return { answer, transactionId: tx.id }
}

/** The steps that change tokens, each a round trip; only inside `TokenDatabase.transaction`. */
export class TokenTransaction implements TokenHolder {
  readonly #tx: Queryable
  /** PostgreSQL's id of this transaction, once it has written a token. */
  id: string | undefined

  constructor(tx: Prisma.TransactionClient) {
    this.#tx = tx
  }

  /**
   * Takes the parent's row, so that it cannot be revoked before this transaction ends, and then the
   * lock on the shape, so that no other process makes the same child meanwhile.
   *
   * In between it takes the lock on what is issued from the parent: shared, unless the parent is so near to its
   * greatest number of children that those being issued by others could reach it. There are no more of these than
   * connections to the server, whatever the number of processes.
   *
   * @returns `undefined` when the database has no such parent, or the end of it is decided; no row is locked then.
   */
  lockForDelegation(shape: RequestKey, limits: DelegationLimits): Promise<LockedParent | undefined> {
    return this.#lockParent(shape.parentKey, requestLockKey(shape), limits)
  }

  /** The same for a child that is not delegated: each request for one gets its own. */
  lockForChild(parentKey: TokenKey, limits: DelegationLimits): Promise<LockedParent | undefined> {
    return this.#lockParent(parentKey, null, limits)
  }

  async #lockParent(
    parentKey: TokenKey,
    shapeLock: bigint | null,
    { maxDepth, maxChildren }: DelegationLimits,
  ): Promise<LockedParent | undefined> {
    const parentLock = parentLockKey(parentKey)
    // MATERIALIZED fixes the order: the row first, then the advisory locks.
    const rows = await this.#tx.$queryRaw<LockedRow[]>`
      WITH RECURSIVE ${lineageOf(parentKey)}, parent AS MATERIALIZED (
        SELECT scopes, expires FROM token WHERE token = ${parentKey} AND ${MAY_BE_HELD} FOR KEY SHARE OF token
      ), chain AS (
        SELECT parent, 1 AS depth FROM subtoken WHERE child = ${parentKey}
        UNION ALL
        SELECT subtoken.parent, depth + 1 FROM chain JOIN subtoken ON subtoken.child = chain.parent
        WHERE depth < ${maxDepth}::int
      ), crowd AS MATERIALIZED (
        SELECT count(*) >= ${maxChildren}::int - current_setting('max_connections')::int AS is_crowded
        FROM (SELECT FROM subtoken WHERE parent = ${parentKey} LIMIT ${maxChildren}::int) AS children
      ), held AS MATERIALIZED (
        SELECT parent.*, is_crowded,
               CASE WHEN is_crowded THEN pg_advisory_xact_lock(${parentLock})::text
                    ELSE pg_advisory_xact_lock_shared(${parentLock})::text END AS parent_lock
        FROM parent CROSS JOIN crowd
      )
      SELECT scopes, expires, is_crowded AS "isCrowded", parent_lock,
             coalesce((SELECT max(depth) FROM chain), 0) AS depth,
             pg_advisory_xact_lock(${shapeLock}::bigint)::text
      FROM held`
    const [row] = rows
    return (
      row && {
        scopes: parseScopes(row.scopes),
        expiresAt: row.expires,
        depth: row.depth,
        isCrowded: row.isCrowded,
      }
    )
  }

  /**
   * How many children of the parent are live, up to `limit`; to be asked while nobody else can issue one. It
   * removes some that are not, so that it does not have to pass over them the next time.
   */
  async countLiveChildren(parentKey: TokenKey, now: Date, limit: number): Promise<number> {
    const [row] = await this.#tx.$queryRaw<{ count: number }[]>`
      SELECT count(*)::int FROM (
        SELECT FROM subtoken CROSS JOIN LATERAL (
          SELECT expires FROM token WHERE token = subtoken.child OFFSET 0
        ) AS child
        WHERE subtoken.parent = ${parentKey}
          AND (child.expires IS NULL OR child.expires > ${formatTimestamp(now)}::timestamp)
        LIMIT ${limit}::int
      ) AS live`
    const count = row?.count ?? 0
    if (count < limit) await expireChildren(this.#tx, parentKey, now)
    return count
  }

  hold(key: TokenKey): Promise<HeldCurrentToken | undefined> {
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
  async insert(token: NewTokenRow, { actor, ipAddress }: Origin, unless?: ChildQuery): Promise<boolean> {
    const { key, username, type, tokenName, service, parentKey } = token
    const scopes = formatScopes(token.scopes)
    const created = formatTimestamp(token.createdAt)
    const expires = token.expiresAt && formatTimestamp(token.expiresAt)
    if (tokenName !== null) await expireNamed(this.#tx, username, tokenName, token.createdAt)
    const isVacant = unless ? Prisma.sql`NOT EXISTS (${selectChildren(unless)})` : Prisma.sql`true`
    try {
      const [written] = await this.#tx.$queryRaw<{ id: string }[]>`
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
        FROM vacant
        RETURNING pg_current_xact_id()::text AS id`
      this.id ??= written?.id
      return written !== undefined
    } catch (error) {
      if (tokenName !== null && isUniqueViolation(error)) throw duplicateTokenName(tokenName)
      throw error
    }
  }
}
