import type { ChildRecord, DelegationLimits, RequestKey } from '../../domain/delegation.ts'
import type { NewTokenRow, Origin } from '../../domain/history.ts'
import { formatScopes, parseScopes } from '../../domain/scope.ts'
import { type TokenKey, unsafeTokenKey } from '../../domain/token.ts'
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
import { RunsInUse } from './runs-in-use.ts'
import { formatTimestamp } from './timestamp.ts'
import { type Finished, runTransaction } from './transactions.ts'
import { TreeTransaction } from './tree-transaction.ts'
import { isUniqueViolation } from './unique-violation.ts'

export type { TokenRow }

/** The columns and relations that a GraphQL query selects, in the form of the Pothos Prisma plugin. */
export type TokenSelection = Prisma.TokenDefaultArgs

/** The database, or one of its transactions. */
type Queryable = Pick<PrismaClient, '$queryRaw' | '$executeRaw'>

/** Maximum time to find whether a transaction was committed after its connection was lost, in milliseconds. */
export const LOOKUP_TIMEOUT_MS = 2_000

/** Maximum time of a transaction that changes whole trees, in milliseconds. Each statement has a limit of its own. */
export const TREE_TIMEOUT_MS = 120_000

interface LockedRow {
  readonly scopes: string
  readonly expires: Date | null
  readonly depth: number
  readonly isCrowded: boolean
}

/** The parent's row, which the transaction holds. */
export interface LockedParent extends HeldToken {
  /** Number of delegated tokens in the chain that ends with the parent. Counting stops at the limit. */
  readonly depth: number
  /**
   * Whether the parent is near its maximum number of children. If so, no other transaction issues a child of it before this
   * one ends.
   */
  readonly isCrowded: boolean
}

/**
 * Rows, lineage and history of tokens in PostgreSQL. Every method may throw `UnavailableError`.
 */
export class TokenDatabase {
  readonly #prisma: PrismaClient
  readonly #runs: RunsInUse

  /** @param runs Default: the token store is no Redis whose runs matter. */
  constructor(prisma: PrismaClient, runs = new RunsInUse()) {
    this.#prisma = prisma
    this.#runs = runs
  }

  /** Returns the children that match, the last to expire first. */
  findChildren(query: ChildQuery): Promise<ChildRecord[]> {
    return callStore('postgres', () => findChildren(this.#prisma, query))
  }

  /**
   * Runs `work` in one transaction, which is committed when `work` resolves and rolled back when it throws. Runs `work` again
   * if PostgreSQL aborted the transaction in favour of another one.
   *
   * @throws {UnavailableError} Also if it cannot be found whether the transaction was committed.
   */
  transaction<T>(work: (tx: TokenTransaction) => Promise<T>): Promise<T> {
    return callStore('postgres', () =>
      runTransaction(this.#prisma, (tx) => finish(new TokenTransaction(tx), work), {
        timeoutMs: TRANSACTION_TIMEOUT_MS - LOOKUP_TIMEOUT_MS,
        lookupMs: LOOKUP_TIMEOUT_MS,
      }),
    )
  }

  /** Like `transaction`, for changes of whole trees, with a longer time limit. */
  changeTrees<T>(work: (tx: TreeTransaction) => Promise<T>): Promise<T> {
    return callStore('postgres', () =>
      runTransaction(
        this.#prisma,
        async (tx) => ({
          result: await work(new TreeTransaction(tx, this.#runs)),
          transactionId: await findTransactionId(tx),
        }),
        {
          timeoutMs: TREE_TIMEOUT_MS,
          lookupMs: LOOKUP_TIMEOUT_MS,
        },
      ),
    )
  }

  /** Returns scopes and expiry of the current rows of those `keys` that have one. */
  async findGrants(keys: readonly TokenKey[]): Promise<ReadonlyMap<TokenKey, HeldToken>> {
    const rows = await callStore('postgres', () =>
      this.#prisma.token.findMany({
        where: { key: { in: [...keys] } },
        select: { key: true, scopes: true, expiresAt: true },
      }),
    )
    return new Map(
      rows.map(({ key, scopes, expiresAt }) => [
        unsafeTokenKey(key),
        { scopes: parseScopes(scopes), expiresAt },
      ]),
    )
  }
}

async function finish<T>(
  tx: TokenTransaction,
  work: (tx: TokenTransaction) => Promise<T>,
): Promise<Finished<T>> {
  const result = await work(tx)
  return { result, transactionId: tx.id }
}

/** The steps that change tokens, each with one round trip. Valid only inside `TokenDatabase.transaction`. */
export class TokenTransaction implements TokenHolder {
  readonly #tx: Queryable
  /** PostgreSQL's id of this transaction; `undefined` while it has written no token. */
  id: string | undefined

  constructor(tx: Prisma.TransactionClient) {
    this.#tx = tx
  }

  /**
   * Locks the parent's row, so that the parent cannot be revoked before this transaction ends. Then takes the advisory lock on
   * the request key, so that no other process issues the same child meanwhile.
   *
   * In between it takes the lock on all children of the parent: exclusive if the children that others are issuing could reach
   * the maximum, and else shared. Others are issuing at most as many children as the server has connections.
   *
   * @param gateway Token key of a gateway that delegates from the parent, and that the caller then holds too. The locks for it
   *   are taken with those for the parent, in one order for all transactions.
   * @returns `undefined` if there is no such row, or the revocation of the parent or of the gateway is recorded. No row is
   *   locked then.
   */
  lockForDelegation(
    shape: RequestKey,
    limits: DelegationLimits,
    gateway?: TokenKey,
  ): Promise<LockedParent | undefined> {
    const keys = gateway === undefined ? [shape.parentKey] : [shape.parentKey, gateway]
    return this.#lockParent(shape.parentKey, requestLockKey(shape), limits, lineageOf(...keys))
  }

  /** Does the same for a child that is not delegated: each request for one gets its own. */
  lockForChild(parentKey: TokenKey, limits: DelegationLimits): Promise<LockedParent | undefined> {
    return this.#lockParent(parentKey, null, limits, lineageOf(parentKey))
  }

  async #lockParent(
    parentKey: TokenKey,
    shapeLock: bigint | null,
    { maxDepth, maxChildren }: DelegationLimits,
    line: Prisma.Sql,
  ): Promise<LockedParent | undefined> {
    const parentLock = parentLockKey(parentKey)
    // MATERIALIZED fixes the order: the row first, then the advisory locks.
    const rows = await this.#tx.$queryRaw<LockedRow[]>`
      WITH RECURSIVE ${line}, parent AS MATERIALIZED (
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
   * Returns the number of valid children of the parent, up to `limit`. Must be called while no other transaction can issue one.
   * Deletes some expired children, so that the next call does not read them again.
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

  /** Like `TokenDatabase.findChildren`, including all children that are committed by now. */
  findChildren(query: ChildQuery): Promise<ChildRecord[]> {
    return findChildren(this.#tx, query)
  }

  /**
   * Inserts the row of the token, its lineage if it has a parent, and the `create` event. One statement needs one round trip,
   * and checks foreign keys at its end.
   *
   * @param unless Insert nothing if there is such a child already; `findChildren` then returns it.
   * @returns Whether the token was inserted.
   * @throws {PorthorError} `DUPLICATE_TOKEN_NAME`: the user has another token with this name.
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
