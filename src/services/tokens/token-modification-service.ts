import type { Logger } from 'pino'
import { type Actor, actorName, requireAdmin, requireMayChangeTokens } from '../../domain/actor.ts'
import { notFound, PorthorError } from '../../domain/errors.ts'
import { requireFindable } from '../../domain/filter.ts'
import type { Origin } from '../../domain/history.ts'
import { earlier, floorToSecond, requireExpiry, secondsUntil } from '../../domain/lifetime.ts'
import {
  intersect,
  isSameScopes,
  type KnownScopes,
  requireKnown,
  type Scopes,
  toScopes,
} from '../../domain/scope.ts'
import type { TokenData, TokenKey } from '../../domain/token.ts'
import { requireTokenName } from '../../domain/user.ts'
import type { Turns } from '../../lib/turns.ts'
import type { Edit } from '../../stores/database/row-changes.ts'
import type { TokenDatabase } from '../../stores/database/token-database.ts'
import type { LockedToken, TreeTransaction } from '../../stores/database/tree-transaction.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import type { ChangeCompleter } from './change-completer.ts'
import { type CurrentTokenDeps, currentTokenName, holdCurrentToken } from './current-token.ts'
import type { OwnedName, TokenNames } from './token-names.ts'
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

export interface TokenModificationServiceDeps extends CurrentTokenDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly changeCompleter: Pick<ChangeCompleter, 'edit'>
  readonly turns: Turns
  readonly names: Pick<TokenNames, 'retrying'>
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

/** Changes user tokens, and takes from their descendants what they no longer have themselves. */
export class TokenModificationService {
  readonly #deps: TokenModificationServiceDeps

  constructor(deps: TokenModificationServiceDeps) {
    this.#deps = deps
  }

  /**
   * Changes the name, the scopes or the expiry of a user token, for admins. A shorter life or fewer scopes reach every
   * descendant in the same transaction. PostgreSQL decides; then the token store follows, which is completed whatever
   * fails. Both are done when this resolves.
   *
   * @throws {PorthorError} `PERMISSION_DENIED` (not an admin, not a user token), `INVALID_TOKEN_NAME`,
   *   `INVALID_SCOPES`, `INVALID_EXPIRES`, `NOT_FOUND` (also for a token that has expired, or is being revoked),
   *   `DUPLICATE_TOKEN_NAME`.
   * @throws {UnauthenticatedError} The current token has been revoked since it was authenticated.
   * @throws {UnavailableError} Its message says so where the change is decided and will be completed.
   */
  async modify({ actor, ipAddress }: Caller, key: TokenKey, modification: TokenModification): Promise<void> {
    this.#requireMayModify(actor)
    requireFindable(key)
    const wanted = this.#require(modification)
    const decide = () =>
      this.#deps.database.changeTrees((tx) => this.#decide(tx, actor, ipAddress, key, wanted))
    await this.#deps.turns.run(currentTokenName(actor), async () => {
      await this.#deps.names.retrying(() => this.#nameOf(key, wanted), decide)
      if (isAboutGrant(wanted)) await this.#deps.changeCompleter.edit(key)
    })
    this.#deps.log.info({ tokenKey: key, actor: actorName(actor), ...wanted }, 'modified token')
  }

  /** Changes the rows: those of the token and of the descendants that lose something. An edit about nothing changes none. */
  async #decide(
    tx: TreeTransaction,
    actor: Actor,
    ipAddress: string | null,
    key: TokenKey,
    asked: Wanted,
  ): Promise<void> {
    const current = await holdCurrentToken(this.#deps, tx, actor)
    this.#requireMayModify(current)
    const locked = await tx.lock(key)
    const token = requireUserToken(key, (await tx.isBeingRevoked(key)) ? undefined : locked)
    if (Object.values(asked).every((value) => value === undefined)) return
    const origin: Origin = { actor: actorName(current), ipAddress }
    // A user token that a delegated token made ends with it, whoever edits it.
    const end = asked.expiresAt === undefined ? null : await tx.findParentExpiry(key)
    const wanted =
      asked.expiresAt === undefined ? asked : { ...asked, expiresAt: earlier(asked.expiresAt, end) }
    if (wanted.tokenName !== undefined) await tx.freeTokenName(token.username, wanted.tokenName, this.#now())
    const data = await this.#deps.tokens.find(key, { isFresh: true })
    // A token that has expired in the token store does not come back by a change of its row.
    if (!data || this.#isEnding(data)) throw notFound(key)
    const below = (await lockTrees(tx, [token])).flat().filter((child) => child.key !== key)
    const losing = below.filter((child) => loses(child, wanted))
    await tx.edit(
      [editOf(token, wanted), ...losing.map((child) => narrowingOf(child, wanted))],
      origin,
      this.#now(),
    )
    if (!isAboutGrant(wanted)) return
    const facts = { hasScopes: wanted.scopes !== undefined, hasExpires: wanted.expiresAt !== undefined }
    await tx.decideEdit(key, origin, facts)
  }

  async #nameOf(key: TokenKey, { tokenName }: Wanted): Promise<OwnedName | undefined> {
    const data = tokenName === undefined ? undefined : await this.#deps.tokens.find(key)
    return data && tokenName !== undefined ? { username: data.username, tokenName } : undefined
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

  #requireMayModify(actor: Actor): void {
    requireMayChangeTokens(actor, this.#deps.mayDelegatedTokensCreate)
    requireAdmin(actor)
  }

  #isEnding({ expiresAt }: TokenData): boolean {
    return secondsUntil(expiresAt, this.#deps.clock.now()) <= 1
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

/** Whether the token store has to follow: it knows no names. */
const isAboutGrant = ({ scopes, expiresAt }: Wanted): boolean =>
  scopes !== undefined || expiresAt !== undefined

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
