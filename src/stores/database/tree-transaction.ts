import type { RevocationFilter } from '../../domain/filter.ts'
import type { Origin } from '../../domain/history.ts'
import type { TokenEdit } from '../../domain/modification.ts'
import { parseScopes, type Scopes } from '../../domain/scope.ts'
import type { TokenKey, TokenType } from '../../domain/token.ts'
import { Prisma } from '../../generated/prisma/client.ts'
import {
  type HeldCurrentToken,
  holdToken,
  isTokenBeingRevoked,
  lockForEdit,
  type TokenHolder,
} from './current-token.ts'
import { expireNamed } from './expiry.ts'
import { type LineageLink, listBelow } from './lineage.ts'
import {
  deletePendingChanges,
  type EditedFacts,
  findRevocations,
  lockRevocations,
  type PendingChange,
  recordEdit,
  recordRevocations,
} from './pending-changes.ts'
import { findMatches, findTrees } from './revocation-matches.ts'
import { editRows, recordRevocation, revokeRows, type StrayToken } from './row-changes.ts'
import type { RunMark, RunsInUse } from './runs-in-use.ts'

/** A row that the transaction has locked: no other one changes it, deletes it or issues a child of it meanwhile. */
export interface LockedToken {
  readonly key: TokenKey
  readonly username: string
  readonly type: TokenType
  readonly tokenName: string | null
  readonly scopes: Scopes
  readonly expiresAt: Date | null
}

/** The steps that edit or revoke whole trees of tokens. One statement changes many rows. */
export class TreeTransaction implements TokenHolder {
  readonly #tx: Prisma.TransactionClient
  readonly #runs: RunsInUse
  readonly #mark: RunMark

  constructor(tx: Prisma.TransactionClient, runs: RunsInUse) {
    this.#tx = tx
    this.#runs = runs
    this.#mark = runs.mark()
  }

  /** Finds the user of a token. Locks nothing. */
  async findUsername(key: TokenKey): Promise<string | undefined> {
    const [row] = await this.#tx.$queryRaw<{ username: string }[]>`
      SELECT username FROM token WHERE token = ${key}`
    return row?.username
  }

  /** See `lockForEdit`. To be called before any token is held or locked. */
  lockForEdit(edited: TokenKey, current: TokenKey | undefined): Promise<void> {
    return lockForEdit(this.#tx, edited, current)
  }

  /** Locks the row of one token. `undefined` if there is no such row. */
  async lock(key: TokenKey): Promise<LockedToken | undefined> {
    const [token] = await this.#lock(Prisma.sql`WHERE token.token = ${key}`)
    return token
  }

  /** Locks the token with this name. `undefined` if there is no such row. */
  async lockNamed(username: string, tokenName: string): Promise<LockedToken | undefined> {
    const [token] = await this.#lock(
      Prisma.sql`WHERE token.username = ${username} AND token.token_name = ${tokenName}`,
    )
    return token
  }

  /** Returns the time at which the parent expires; `null` if it never does, or there is no parent. */
  async findParentExpiry(key: TokenKey): Promise<Date | null> {
    const [parent] = await this.#tx.$queryRaw<{ expires: Date | null }[]>`
      SELECT parent.expires FROM subtoken JOIN token AS parent ON parent.token = subtoken.parent
      WHERE subtoken.child = ${key}`
    return parent?.expires ?? null
  }

  /** Locks those of `keys` that have a row. */
  lockAll(keys: readonly TokenKey[]): Promise<LockedToken[]> {
    return this.#lock(Prisma.sql`WHERE token.token = ANY (${keys}) ORDER BY token.token`)
  }

  /** See `findMatches`. Locks nothing. */
  findMatches(filter: RevocationFilter, limit: number): Promise<TokenKey[]> {
    return findMatches(this.#tx, filter, limit)
  }

  /** See `findTrees`. Locks nothing. */
  findTrees(filter: RevocationFilter, first: number): Promise<{ count: number; keys: TokenKey[] }> {
    return findTrees(this.#tx, filter, first)
  }

  /** Returns those of `keys` whose revocation is recorded. */
  findRevocations(keys: readonly TokenKey[]): Promise<Set<TokenKey>> {
    return findRevocations(this.#tx, keys)
  }

  /** Records that tokens are revoked: after the commit nothing is issued from them, and the revocation will be completed. */
  decideRevocations(keys: readonly TokenKey[], origin: Origin): Promise<void> {
    return recordRevocations(this.#tx, keys, origin)
  }

  /** Records that the token store must follow an edit of the rows. */
  decideEdit(key: TokenKey, origin: Origin, facts: EditedFacts): Promise<void> {
    return recordEdit(this.#tx, key, origin, facts)
  }

  /** See `lockRevocations`. */
  lockRevocations(keys: readonly TokenKey[], skipLocked: boolean): Promise<PendingChange[]> {
    return lockRevocations(this.#tx, keys, skipLocked)
  }

  /** Deletes completed changes. */
  deletePendingChanges(changes: readonly PendingChange[]): Promise<void> {
    return deletePendingChanges(this.#tx, changes)
  }

  hold(key: TokenKey): Promise<HeldCurrentToken | undefined> {
    return holdToken(this.#tx, key)
  }

  isBeingRevoked(key: TokenKey): Promise<boolean> {
    return isTokenBeingRevoked(this.#tx, key)
  }

  /** See `listBelow`. */
  listBelow(keys: readonly TokenKey[]): AsyncIterable<readonly LineageLink[]> {
    return listBelow(this.#tx, keys)
  }

  /** Returns the total number of children of some tokens. */
  async countChildren(keys: readonly TokenKey[]): Promise<number> {
    const [row] = await this.#tx.$queryRaw<{ count: bigint }[]>`
      SELECT count(*) FROM unnest(${keys}::text[]) AS seed (key) CROSS JOIN LATERAL (
        SELECT FROM subtoken WHERE parent = seed.key OFFSET 0) AS link`
    return Number(row?.count ?? 0)
  }

  /**
   * Deletes the rows of `keys`, children before their parents: see `revokeRows`. To be called when the token store has
   * followed, without an open command.
   *
   * @throws {UnavailableError} See `RunsInUse`.
   */
  async revoke(keys: readonly TokenKey[], origin: Origin, now: Date): Promise<void> {
    await this.#runs.requireCurrent(this.#tx, this.#mark)
    await revokeRows(this.#tx, keys, origin, now)
  }

  /** Writes a `revoke` event for a token that has no row. */
  recordRevocation(token: StrayToken, origin: Origin, now: Date): Promise<void> {
    return recordRevocation(this.#tx, token, origin, now)
  }

  /** See `editRows`. @throws {PorthorError} `DUPLICATE_TOKEN_NAME` */
  edit(edits: readonly TokenEdit[], origin: Origin, now: Date): Promise<void> {
    return editRows(this.#tx, edits, origin, now)
  }

  /** Deletes an expired token with this name, so that the name can be used again. */
  async freeTokenName(username: string, tokenName: string, now: Date): Promise<void> {
    await expireNamed(this.#tx, username, tokenName, now)
  }

  /** Keeps the transaction alive: PostgreSQL ends one that is idle for too long. */
  async stay(): Promise<void> {
    await this.#tx.$queryRaw`SELECT 1`
  }

  async #lock(rest: Prisma.Sql): Promise<LockedToken[]> {
    const rows = await this.#tx.$queryRaw<(Omit<LockedToken, 'scopes'> & { scopes: string })[]>`
      SELECT token.token AS key, token.username, token.token_type::text AS type,
             token.token_name AS "tokenName", token.scopes, token.expires AS "expiresAt"
      FROM token ${rest} FOR UPDATE OF token`
    return rows.map((row) => ({ ...row, scopes: parseScopes(row.scopes) }))
  }
}
