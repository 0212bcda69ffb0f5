import type { RevocationFilter } from '../domain/filter.ts'
import type { Origin } from '../domain/history.ts'
import { formatScopes, parseScopes, type Scopes } from '../domain/scope.ts'
import type { TokenKey, TokenType } from '../domain/token.ts'
import { duplicateTokenName } from '../domain/user.ts'
import { Prisma } from '../generated/prisma/client.ts'
import { slicesOf } from '../lib/slices.ts'
import {
  type HeldCurrentToken,
  holdToken,
  isTokenBeingRevoked,
  type TokenHolder,
  waitForTurn,
} from './current-token.ts'
import { expireNamed } from './expiry.ts'
import { type Link, listBelow } from './lineage.ts'
import { where } from './listing.ts'
import {
  deletePendingChanges,
  type EditedFacts,
  findRevocations,
  lockRevocations,
  type PendingChange,
  recordEdit,
  recordRevocations,
} from './pending-changes.ts'
import { formatTimestamp } from './timestamp.ts'
import { isUniqueViolation } from './unique-violation.ts'

/** Rows that one statement changes: PostgreSQL ends a statement that takes long, however large its tree is. */
const ROWS_AT_ONCE = 1_000

/** Tokens whose turn is waited for: the server has room for some thousand advisory locks in all. */
const MAX_TURNS = 100

/** A row that the transaction holds: nobody changes it, removes it or makes a child of it meanwhile. */
export interface LockedToken {
  readonly key: TokenKey
  readonly username: string
  readonly type: TokenType
  readonly tokenName: string | null
  readonly scopes: Scopes
  readonly expiresAt: Date | null
}

/** A token that only the token store has. */
export interface StrayToken {
  readonly key: TokenKey
  readonly username: string
  readonly type: TokenType
  readonly service: string | null
  readonly scopes: Scopes
  readonly expiresAt: Date | null
}

/** What an edit makes of one row. What stays as it was is given as it was. */
export interface Edit {
  readonly key: TokenKey
  readonly tokenName: string | null
  readonly scopes: Scopes
  readonly expiresAt: Date | null
  /** The attributes that the edit is about, as they were; `undefined` for those it is not about. */
  readonly old: {
    readonly tokenName: string | null | undefined
    readonly scopes: Scopes | undefined
    readonly expiresAt: Date | null | undefined
  }
}

/** The steps that change or end whole trees of tokens, set-based: a statement takes on many rows. */
export class TreeTransaction implements TokenHolder {
  readonly #tx: Prisma.TransactionClient

  constructor(tx: Prisma.TransactionClient) {
    this.#tx = tx
  }

  /** Takes one token. `undefined` when there is none. */
  async lock(key: TokenKey): Promise<LockedToken | undefined> {
    await waitForTurn(this.#tx, [key])
    const [token] = await this.#lock(Prisma.sql`WHERE token.token = ${key}`)
    return token
  }

  /** Takes the token of that name. `undefined` when there is none. */
  async lockNamed(username: string, tokenName: string): Promise<LockedToken | undefined> {
    const [token] = await this.#lock(
      Prisma.sql`WHERE token.username = ${username} AND token.token_name = ${tokenName}`,
    )
    return token
  }

  /** When the token's parent expires; `null` where it never does, or there is no parent. */
  async findParentExpiry(key: TokenKey): Promise<Date | null> {
    const [parent] = await this.#tx.$queryRaw<{ expires: Date | null }[]>`
      SELECT parent.expires FROM subtoken JOIN token AS parent ON parent.token = subtoken.parent
      WHERE subtoken.child = ${key}`
    return parent?.expires ?? null
  }

  /** Takes those of `keys` that there are. */
  lockAll(keys: readonly TokenKey[]): Promise<LockedToken[]> {
    return this.#lock(Prisma.sql`WHERE token.token = ANY (${keys}) ORDER BY token.token`)
  }

  /** Takes up to `limit` of the tokens that match, in the order of their keys. */
  async lockMatches(filter: RevocationFilter, limit: number): Promise<LockedToken[]> {
    const few = await this.#tx.$queryRaw<{ token: TokenKey }[]>`
      SELECT token.token FROM token ${where(matching(filter))} LIMIT ${MAX_TURNS + 1}`
    if (few.length <= MAX_TURNS)
      await waitForTurn(
        this.#tx,
        few.map(({ token }) => token),
      )
    return this.#lock(Prisma.sql`${where(matching(filter))} ORDER BY token.token LIMIT ${limit}`)
  }

  /** Those of `keys` whose revocation is decided. To be asked once their rows are held. */
  findRevocations(keys: readonly TokenKey[]): Promise<Set<TokenKey>> {
    return findRevocations(this.#tx, keys)
  }

  /** Decides that tokens are revoked: from the commit on nothing is issued from them, and it will be completed. */
  decideRevocations(keys: readonly TokenKey[], origin: Origin): Promise<void> {
    return recordRevocations(this.#tx, keys, origin)
  }

  /** Decides that the token store is to follow an edit of the rows. */
  decideEdit(key: TokenKey, origin: Origin, facts: EditedFacts): Promise<void> {
    return recordEdit(this.#tx, key, origin, facts)
  }

  /** As `lockRevocations` of the pending changes. */
  lockRevocations(keys: readonly TokenKey[], skipLocked: boolean): Promise<PendingChange[]> {
    return lockRevocations(this.#tx, keys, skipLocked)
  }

  /** Deletes what has been completed. */
  deletePendingChanges(changes: readonly PendingChange[]): Promise<void> {
    return deletePendingChanges(this.#tx, changes)
  }

  hold(key: TokenKey): Promise<HeldCurrentToken | undefined> {
    return holdToken(this.#tx, key)
  }

  isBeingRevoked(key: TokenKey): Promise<boolean> {
    return isTokenBeingRevoked(this.#tx, key)
  }

  /** As `listBelow` of the lineage. */
  listBelow(keys: readonly TokenKey[]): AsyncIterable<readonly Link[]> {
    return listBelow(this.#tx, keys)
  }

  /** How many children some tokens have, together. */
  async countChildren(keys: readonly TokenKey[]): Promise<number> {
    const [row] = await this.#tx.$queryRaw<{ count: bigint }[]>`
      SELECT count(*) FROM unnest(${keys}::text[]) AS seed (key) CROSS JOIN LATERAL (
        SELECT FROM subtoken WHERE parent = seed.key OFFSET 0) AS link`
    return Number(row?.count ?? 0)
  }

  /** How many tokens match or descend from one that does, and the first of their keys. Locks nothing. */
  async findTrees(filter: RevocationFilter, first: number): Promise<{ count: number; keys: TokenKey[] }> {
    const rows = await this.#tx.$queryRaw<{ token: TokenKey; count: bigint }[]>`
      WITH RECURSIVE doomed AS (
        SELECT token.token FROM token ${where(matching(filter))}
        UNION
        SELECT subtoken.child FROM subtoken JOIN doomed ON doomed.token = subtoken.parent
      )
      SELECT token, count(*) OVER () FROM doomed LIMIT ${Math.max(first, 1)}`
    return { count: Number(rows[0]?.count ?? 0), keys: rows.slice(0, first).map(({ token }) => token) }
  }

  /** Removes the rows, and writes a `revoke` entry for each, in the order given: children before their parents. */
  async revoke(keys: readonly TokenKey[], origin: Origin, now: Date): Promise<void> {
    for (const slice of slicesOf(keys, ROWS_AT_ONCE)) await this.#revoke(slice, origin, now)
  }

  async #revoke(keys: readonly TokenKey[], { actor, ipAddress }: Origin, now: Date): Promise<void> {
    await this.#tx.$executeRaw`
      WITH doomed AS (
        SELECT * FROM unnest(${keys}::text[]) WITH ORDINALITY AS doomed (key, place)
      ), gone AS (
        DELETE FROM token USING doomed WHERE token.token = doomed.key RETURNING token.*, doomed.place
      )
      INSERT INTO token_change_history
        (token, username, token_type, token_name, parent, scopes, service, expires, actor, action,
         ip_address, event_time)
      SELECT gone.token, username, token_type, token_name, subtoken.parent, scopes, service, expires,
             ${actor}, 'revoke', ${ipAddress}::inet, ${formatTimestamp(now)}::timestamp
      FROM gone LEFT JOIN subtoken ON subtoken.child = gone.token
      ORDER BY gone.place`
  }

  /** Writes a `revoke` entry for a token that has no row. */
  async recordRevocation(token: StrayToken, { actor, ipAddress }: Origin, now: Date): Promise<void> {
    const expires = token.expiresAt && formatTimestamp(token.expiresAt)
    await this.#tx.$executeRaw`
      INSERT INTO token_change_history
        (token, username, token_type, scopes, service, expires, actor, action, ip_address, event_time)
      VALUES (${token.key}, ${token.username}, ${token.type}::tokentype, ${formatScopes(token.scopes)},
              ${token.service}, ${expires}::timestamp, ${actor}, 'revoke', ${ipAddress}::inet,
              ${formatTimestamp(now)}::timestamp)`
  }

  /** Lets a name be taken again that only an expired token still has. */
  async freeTokenName(username: string, tokenName: string, now: Date): Promise<void> {
    await expireNamed(this.#tx, username, tokenName, now)
  }

  /**
   * Changes the rows, and writes an `edit` entry for each, in the order given.
   *
   * @throws {PorthorError} `DUPLICATE_TOKEN_NAME`
   */
  async edit(edits: readonly Edit[], origin: Origin, now: Date): Promise<void> {
    for (const slice of slicesOf(edits, ROWS_AT_ONCE)) await this.#edit(slice, origin, now)
  }

  async #edit(edits: readonly Edit[], { actor, ipAddress }: Origin, now: Date): Promise<void> {
    const rows = edits.map(({ key, tokenName, scopes, expiresAt, old }) => ({
      key,
      name: tokenName,
      scopes: formatScopes(scopes),
      expires: expiresAt && formatTimestamp(expiresAt),
      old_name: old.tokenName ?? null,
      old_scopes: old.scopes ? formatScopes(old.scopes) : null,
      old_expires: old.expiresAt ? formatTimestamp(old.expiresAt) : null,
    }))
    try {
      await this.#tx.$executeRaw`
        WITH edit AS (
          SELECT * FROM ROWS FROM (
            json_to_recordset(${JSON.stringify(rows)}::json) AS (
              key text, name text, scopes text, expires timestamp, old_name text, old_scopes text,
              old_expires timestamp)
          ) WITH ORDINALITY AS edit (key, name, scopes, expires, old_name, old_scopes, old_expires, place)
        ), edited AS (
          UPDATE token SET token_name = edit.name, scopes = edit.scopes, expires = edit.expires
          FROM edit WHERE token.token = edit.key
          RETURNING token.username, token.token_type, token.service, edit.*
        )
        INSERT INTO token_change_history
          (token, username, token_type, token_name, parent, scopes, service, expires, actor, action,
           old_token_name, old_scopes, old_expires, ip_address, event_time)
        SELECT key, username, token_type, name, subtoken.parent, scopes, service, expires, ${actor}, 'edit',
               old_name, old_scopes, old_expires, ${ipAddress}::inet, ${formatTimestamp(now)}::timestamp
        FROM edited LEFT JOIN subtoken ON subtoken.child = edited.key
        ORDER BY place`
    } catch (error) {
      const name = edits.find(({ old }) => old.tokenName !== undefined)?.tokenName
      if (name != null && isUniqueViolation(error)) throw duplicateTokenName(name)
      throw error
    }
  }

  /** Says that there is more to come: PostgreSQL ends a transaction that holds locks and is silent for long. */
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

const matching = ({ username, service, type, ancestor, createdBefore }: RevocationFilter): Prisma.Sql[] => [
  ...(username === undefined ? [] : [Prisma.sql`token.username = ${username}`]),
  ...(service === undefined ? [] : [Prisma.sql`token.service = ${service}`]),
  ...(type === undefined ? [] : [Prisma.sql`token.token_type = ${type}::tokentype`]),
  ...(createdBefore === undefined
    ? []
    : [Prisma.sql`token.created < ${formatTimestamp(createdBefore)}::timestamp`]),
  ...(ancestor === undefined
    ? []
    : [
        Prisma.sql`token.token IN (
          WITH RECURSIVE below AS (
            SELECT child FROM subtoken WHERE parent = ${ancestor}
            UNION
            SELECT subtoken.child FROM subtoken JOIN below ON below.child = subtoken.parent
          )
          SELECT child FROM below)`,
      ]),
]
