import type { Logger } from 'pino'
import { actorName, requireAdmin, requireMayChangeTokens } from '../domain/actor.ts'
import { notFound, PorthorError } from '../domain/errors.ts'
import { requireFindable } from '../domain/filter.ts'
import type { Origin } from '../domain/history.ts'
import { earlier, floorToSecond, requireExpiry, secondsUntil } from '../domain/lifetime.ts'
import {
  intersect,
  isSameScopes,
  type KnownScopes,
  requireKnown,
  type Scopes,
  toScopes,
} from '../domain/scope.ts'
import type { TokenData, TokenKey } from '../domain/token.ts'
import { requireTokenName } from '../domain/user.ts'
import type { Clock } from '../lib/clock.ts'
import { slicesOf } from '../lib/slices.ts'
import type { TokenDatabase } from '../stores/token-database.ts'
import type { TokenEntry, TokenStore } from '../stores/token-store.ts'
import type { Edit, LockedToken, TreeTransaction } from '../stores/tree-transaction.ts'
import type { Caller } from './token-service.ts'
import { lockTrees } from './token-tree.ts'

/** What to change. What is `undefined` stays as it is. */
export interface TokenModification {
  readonly tokenName?: string | undefined
  /** Replaces all scopes; an empty list means none. */
  readonly scopes?: readonly string[] | undefined
  /** `null` for a token that never ends. */
  readonly expiresAt?: Date | null | undefined
}

export interface TokenModificationServiceDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly clock: Clock
  readonly log: Logger
  readonly knownScopes: KnownScopes
  /** Whether internal and notebook tokens may modify tokens. */
  readonly mayDelegatedTokensCreate: boolean
}

/** What an edit is about, checked. */
interface Wanted {
  readonly tokenName: string | undefined
  readonly scopes: Scopes | undefined
  readonly expiresAt: Date | null | undefined
}

/** Rights and life of a token: what an edit may take from its descendants too. */
type Reach = Pick<TokenData, 'scopes' | 'expiresAt'>

/** An entry of the token store as it was before an edit, and the row beside it. */
interface Overwritten {
  readonly row: LockedToken
  readonly data: TokenData
}

/** Store entries rewritten at a time. */
const ENTRIES_AT_ONCE = 100

/** Changes user tokens, and takes from their descendants what they no longer have themselves. */
export class TokenModificationService {
  readonly #deps: TokenModificationServiceDeps

  constructor(deps: TokenModificationServiceDeps) {
    this.#deps = deps
  }

  /**
   * Changes the name, the scopes or the expiry of a user token, for admins. A shorter life or fewer
   * scopes reach every descendant in the same transaction. The token store has what the edit adds when
   * this resolves, and never before the commit.
   *
   * @throws {PorthorError} `PERMISSION_DENIED` (not an admin, not a user token), `INVALID_TOKEN_NAME`,
   *   `INVALID_SCOPES`, `INVALID_EXPIRES`, `NOT_FOUND` (also for a token that has ended),
   *   `DUPLICATE_TOKEN_NAME`.
   * @throws {UnavailableError} Nothing was changed, or not all that was asked for was given, or not even that can be
   *   told: the call can be repeated.
   */
  async modify({ actor, ipAddress }: Caller, key: TokenKey, modification: TokenModification): Promise<void> {
    requireMayChangeTokens(actor, this.#deps.mayDelegatedTokensCreate)
    requireAdmin(actor)
    requireFindable(key)
    const wanted = this.#require(modification)
    const origin: Origin = { actor: actorName(actor), ipAddress }
    if (Object.values(wanted).every((value) => value === undefined)) return this.#requireUserToken(key)
    const isToBeGiven = await this.#change(key, (tx, overwritten) =>
      this.#take(tx, key, wanted, origin, overwritten),
    )
    this.#deps.log.info({ tokenKey: key, actor: origin.actor, ...wanted }, 'modified token')
    if (isToBeGiven) await this.#change(key, (tx, overwritten) => this.#give(tx, key, wanted, overwritten))
  }

  /** Runs `work` in one transaction, and undoes what it wrote to the token store where that fails. */
  async #change<T>(
    key: TokenKey,
    work: (tx: TreeTransaction, overwritten: Overwritten[]) => Promise<T>,
  ): Promise<T> {
    const overwritten: Overwritten[] = []
    try {
      return await this.#deps.database.changeTrees((tx) => work(tx, overwritten))
    } catch (error) {
      if (overwritten.length > 0) await this.#restore(key, overwritten)
      throw error
    }
  }

  /**
   * Changes the rows, and takes from the entries of the token store what the edit takes away: should this
   * process die before the commit, they have less than their rows, and never more.
   *
   * @returns Whether the token is to be given something, once that is committed.
   */
  async #take(
    tx: TreeTransaction,
    key: TokenKey,
    wanted: Wanted,
    origin: Origin,
    overwritten: Overwritten[],
  ): Promise<boolean> {
    const token = requireUserToken(key, await tx.lock(key))
    if (wanted.tokenName !== undefined) await tx.freeTokenName(token.username, wanted.tokenName, this.#now())
    const data = await this.#deps.tokens.get(key, { isFresh: true })
    // A token that has ended in the store is not brought back by changing its row.
    if (!data || this.#isEnding(data)) throw notFound(key)
    const [, ...descendants] = await lockTrees(tx, [token])
    const losing = descendants.map((level) => level.filter((child) => loses(child, wanted)))
    const narrowings = losing.flat().map((child) => narrowingOf(child, wanted))
    await tx.edit([editOf(token, wanted), ...narrowings], origin, this.#now())
    // Deepest first: should this process die in between, still no child has more than its parent.
    for (const level of [[token], ...losing].toReversed()) {
      await inBatches(tx, level, (row) => this.#narrow(row, wanted, overwritten))
    }
    return !isSameReach(narrowed(data, wanted), replaced(data, wanted))
  }

  /** Takes from an entry of the token store, where there is one, and notes what it was. */
  async #narrow(row: LockedToken, wanted: Wanted, overwritten: Overwritten[]): Promise<void> {
    const entry = await this.#deps.tokens.getEntry(row.key)
    if (!entry) return
    const kept = narrowed(entry.data, wanted)
    // Where the row has more than the record, an earlier edit may still be on its way to give that: it must find
    // another record than it has read, as this one is when it is written anew.
    if (isSameReach(kept, entry.data) && !loses(row, wanted)) return
    overwritten.push({ row, data: entry.data })
    await this.#write(entry, kept)
  }

  /**
   * Gives the token what the edit was about as its row has it by now: since the commit, it may have been
   * edited again, or revoked.
   */
  async #give(
    tx: TreeTransaction,
    key: TokenKey,
    { scopes, expiresAt }: Wanted,
    overwritten: Overwritten[],
  ): Promise<void> {
    const row = await tx.lock(key)
    const entry = await this.#deps.tokens.getEntry(key)
    if (!row || !entry) throw notFound(key)
    const { data } = entry
    overwritten.push({ row, data })
    await this.#write(entry, {
      scopes: scopes ? row.scopes : data.scopes,
      expiresAt: expiresAt === undefined ? data.expiresAt : row.expiresAt,
    })
  }

  #require({ tokenName, scopes, expiresAt }: TokenModification): Wanted {
    if (tokenName !== undefined) requireTokenName(tokenName)
    const wantedScopes = scopes && toScopes(scopes)
    if (wantedScopes) requireKnown(wantedScopes, this.#deps.knownScopes)
    return {
      tokenName,
      scopes: wantedScopes,
      expiresAt: expiresAt ? requireExpiry(expiresAt, this.#now()) : expiresAt,
    }
  }

  /** An edit that is about nothing changes nothing, but is refused where any other would be. */
  async #requireUserToken(key: TokenKey): Promise<void> {
    await this.#deps.database.changeTrees(async (tx) => requireUserToken(key, await tx.lock(key)))
  }

  /** Replaces an entry of the token store. In its last second a token counts as ended: it may be so before it is written. */
  async #write(entry: TokenEntry, { scopes, expiresAt }: Reach): Promise<void> {
    const data = { ...entry.data, scopes, expiresAt }
    if (this.#isEnding(data)) await this.#deps.tokens.delete([data.token.key])
    else await this.#deps.tokens.replace(entry, data)
  }

  #isEnding({ expiresAt }: TokenData): boolean {
    return secondsUntil(expiresAt, this.#deps.clock.now()) <= 1
  }

  /**
   * Puts the entries back whose rows are as they were. By now a token may have been edited by someone
   * else; or the commit went through, and only word of it was lost. Of a token that was revoked, nothing
   * stays that this edit may have written since.
   */
  async #restore(key: TokenKey, overwritten: readonly Overwritten[]): Promise<void> {
    const keys = overwritten.map(({ row }) => row.key)
    try {
      await this.#deps.database.changeTrees(async (tx) => {
        await tx.lock(key)
        const rows = new Map((await tx.lockAll(keys)).map((row) => [row.key, row]))
        await this.#deps.tokens.delete(keys.filter((each) => !rows.has(each)))
        const due = overwritten.filter(({ row }) => isSameReach(rows.get(row.key), row))
        // The edited token was written last, and comes first: a child never has more than its parent.
        await inBatches(tx, due.toReversed(), async ({ data }) => {
          const entry = await this.#deps.tokens.getEntry(data.token.key)
          // Also where it is as it was, for the same reason as in `#narrow`.
          if (entry) await this.#write(entry, data)
        })
      })
    } catch (error) {
      this.#deps.log.error(
        { tokenKeys: keys, fault: String(error) },
        'could not restore token store entries after a failed edit',
      )
    }
  }

  #now(): Date {
    return floorToSecond(this.#deps.clock.now())
  }
}

function requireUserToken(key: TokenKey, token: LockedToken | undefined): LockedToken {
  if (!token) throw notFound(key)
  if (token.type === 'user') return token
  throw new PorthorError(
    'PERMISSION_DENIED',
    `Only user tokens can be modified: this is a ${token.type} token.`,
  )
}

const replaced = (data: Reach, { scopes, expiresAt }: Wanted): Reach => ({
  scopes: scopes ?? data.scopes,
  expiresAt: expiresAt === undefined ? data.expiresAt : expiresAt,
})

/** What is left of what a token has: no more than the edit says, and only of what it was about. */
const narrowed = (data: Reach, { scopes, expiresAt }: Wanted): Reach => ({
  scopes: scopes ? intersect(data.scopes, scopes) : data.scopes,
  expiresAt: expiresAt === undefined ? data.expiresAt : earlier(data.expiresAt, expiresAt),
})

const editOf = (token: LockedToken, wanted: Wanted): Edit => ({
  key: token.key,
  tokenName: wanted.tokenName ?? token.tokenName,
  ...replaced(token, wanted),
  old: {
    tokenName: wanted.tokenName === undefined ? undefined : token.tokenName,
    scopes: wanted.scopes && token.scopes,
    expiresAt: wanted.expiresAt === undefined ? undefined : token.expiresAt,
  },
})

const isSameEnd = (left: Date | null, right: Date | null): boolean => left?.getTime() === right?.getTime()

const isSameReach = (left: Reach | undefined, right: Reach): boolean =>
  left !== undefined && isSameScopes(left.scopes, right.scopes) && isSameEnd(left.expiresAt, right.expiresAt)

/** Whether a token has anything on record that the edit takes away. */
const loses = (child: LockedToken, wanted: Wanted): boolean => !isSameReach(narrowed(child, wanted), child)

function narrowingOf(child: LockedToken, wanted: Wanted): Edit {
  const kept = narrowed(child, wanted)
  const old = {
    tokenName: undefined,
    scopes: isSameScopes(kept.scopes, child.scopes) ? undefined : child.scopes,
    expiresAt: isSameEnd(kept.expiresAt, child.expiresAt) ? undefined : child.expiresAt,
  }
  return { key: child.key, tokenName: child.tokenName, ...kept, old }
}

/** Does `work` for all of `items`, some at a time. When it throws, nothing is under way any more. */
async function inBatches<T>(
  tx: TreeTransaction,
  items: readonly T[],
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  for (const slice of slicesOf(items, ENTRIES_AT_ONCE)) {
    const settled = await Promise.allSettled(slice.map(work))
    const failed = settled.find((each) => each.status === 'rejected')
    if (failed) throw failed.reason
    await tx.stay()
  }
}
