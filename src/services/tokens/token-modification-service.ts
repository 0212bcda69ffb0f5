import type { Logger } from 'pino'
import { type Actor, actorName, requireAdmin, requireMayChangeTokens } from '../../domain/actor.ts'
import { decidedButPending, notFound, UnavailableError } from '../../domain/errors.ts'
import { parseTokenKey } from '../../domain/filter.ts'
import type { Origin } from '../../domain/history.ts'
import { secondsUntil } from '../../domain/lifetime.ts'
import {
  type CheckedModification,
  findGrantEdit,
  grantBelow,
  isAboutGrant,
  isEmptyModification,
  modificationEdit,
  requireModifiable,
  requireModification,
  type TokenModification,
  withinParent,
} from '../../domain/modification.ts'
import type { KnownScopes } from '../../domain/scope.ts'
import type { TokenData, TokenKey } from '../../domain/token.ts'
import { withTimeout } from '../../lib/with-timeout.ts'
import type { TokenDatabase } from '../../stores/database/token-database.ts'
import type { TreeTransaction } from '../../stores/database/tree-transaction.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'
import { type CurrentTokenDeps, holdCurrentToken } from './current-token.ts'
import type { PendingChangeCompleter } from './pending-change-completer.ts'
import { startResponseTimer } from './response-limit.ts'
import type { OwnedName, TokenNames } from './token-names.ts'
import type { Caller } from './token-service.ts'
import { lockTrees } from './token-tree.ts'
import { type WriteLimit, writerOf } from './write-limit.ts'

export interface TokenModificationServiceDeps extends CurrentTokenDeps {
  readonly tokens: TokenStore
  readonly database: TokenDatabase
  readonly pendingChanges: Pick<PendingChangeCompleter, 'completeEdit'>
  readonly writeLimit: WriteLimit
  readonly names: Pick<TokenNames, 'withFreeName'>
  readonly log: Logger
  readonly knownScopes: KnownScopes
  /** Whether internal and notebook tokens may modify tokens. */
  readonly mayDelegatedTokensCreate: boolean
}

const SLOW = new UnavailableError('postgres', new Error('the change takes longer than a response may'))

/** One transaction changes the token and its descendants: it cannot leave anything half-done. */
const goesOn = (): UnavailableError =>
  new UnavailableError(
    SLOW.store,
    SLOW.cause,
    'The change takes longer than a response may, and goes on. It will be made for the token and all its descendants, or for none of them. Repeat the request to learn whether it is complete.',
  )

/** Modifies user tokens, and narrows their descendants accordingly. */
export class TokenModificationService {
  readonly #deps: TokenModificationServiceDeps

  constructor(deps: TokenModificationServiceDeps) {
    this.#deps = deps
  }

  /**
   * Changes the name, the scopes or the expiry of a user token, for admins. An earlier expiry or fewer scopes apply to
   * every descendant too: the rows change in one transaction, then the records follow. Both are done when this resolves.
   *
   * @throws {PorthorError} `PERMISSION_DENIED` (not an admin, not a user token), `INVALID_TOKEN_NAME`,
   *   `INVALID_SCOPES`, `INVALID_EXPIRES`, `NOT_FOUND` (also for a token that has expired, or is being revoked),
   *   `DUPLICATE_TOKEN_NAME`.
   * @throws {UnauthenticatedError} The current token has been revoked since it was authenticated.
   * @throws {UnavailableError} Its message says so if the change is recorded and will be completed, or goes on.
   */
  async modify({ actor, ipAddress }: Caller, givenKey: string, requested: TokenModification): Promise<void> {
    const { database, writeLimit, names, pendingChanges, knownScopes, clock, log } = this.#deps
    this.#requireMayModify(actor)
    const key = parseTokenKey(givenKey)
    const modification = requireModification(requested, knownScopes, clock.nowToSecond())
    const left = startResponseTimer(clock, actor)
    const decide = () => database.changeTrees((tx) => this.#decide(tx, actor, ipAddress, key, modification))
    let [isDecided, hasTimedOut] = [false, false]
    const work = writeLimit.run(writerOf(actor), async () => {
      await names.withFreeName(() => this.#findName(key, modification), decide)
      isDecided = true
      if (isAboutGrant(modification)) await pendingChanges.completeEdit(key)
      log.info({ tokenKey: key, actor: actorName(actor), ...modification }, 'modified token')
    })
    work.catch((error: unknown) => {
      if (hasTimedOut) log.warn({ tokenKey: key, reason: String(error) }, 'could not complete a slow change')
    })
    // The others of this writer wait for the end of the work.
    await withTimeout(work, left(), () => {
      hasTimedOut = true
      return isDecided ? decidedButPending('The change', SLOW) : goesOn()
    })
  }

  /** Edits the rows of the token and of the descendants that it narrows. An empty modification edits none. */
  async #decide(
    tx: TreeTransaction,
    actor: Actor,
    ipAddress: string | null,
    key: TokenKey,
    requested: CheckedModification,
  ): Promise<void> {
    await tx.lockForEdit(key, actor.kind === 'token' ? actor.data.token.key : undefined)
    const current = await holdCurrentToken(this.#deps, tx, actor)
    this.#requireMayModify(current)
    const locked = await tx.lock(key)
    const token = requireModifiable(key, (await tx.isBeingRevoked(key)) ? undefined : locked)
    if (isEmptyModification(requested)) return
    const origin: Origin = { actor: actorName(current), ipAddress }
    const now = this.#deps.clock.nowToSecond()
    const isAboutExpiry = requested.expiresAt !== undefined
    const modification = isAboutExpiry ? withinParent(requested, await tx.findParentExpiry(key)) : requested
    const { tokenName, scopes } = modification
    if (tokenName !== undefined) await tx.freeTokenName(token.username, tokenName, now)
    const data = await this.#deps.tokens.find(key, { isFresh: true })
    // A token that has expired in the token store does not become valid again by an edit of its row.
    if (!data || this.#isExpiring(data)) throw notFound(key)
    const below = (await lockTrees(tx, [token])).flat().filter((descendant) => descendant.key !== key)
    const narrowings = below.flatMap((row) => findGrantEdit(row, grantBelow(row, modification)) ?? [])
    await tx.edit([modificationEdit(token, modification), ...narrowings], origin, now)
    if (!isAboutGrant(modification)) return
    await tx.decideEdit(key, origin, { hasScopes: scopes !== undefined, hasExpires: isAboutExpiry })
  }

  async #findName(key: TokenKey, { tokenName }: CheckedModification): Promise<OwnedName | undefined> {
    const data = tokenName === undefined ? undefined : await this.#deps.tokens.find(key)
    return data && tokenName !== undefined ? { username: data.username, tokenName } : undefined
  }

  #requireMayModify(actor: Actor): void {
    requireMayChangeTokens(actor, this.#deps.mayDelegatedTokensCreate)
    requireAdmin(actor)
  }

  /** Whether the token expires within a second: it may have expired before its record is written. */
  #isExpiring({ expiresAt }: TokenData): boolean {
    return secondsUntil(expiresAt, this.#deps.clock.now()) <= 1
  }
}
