import {
  type Actor,
  actorName,
  actorScopes,
  isAdmin,
  isDelegated,
  requireAdmin,
  requireMayChangeTokens,
  requireSelfOrAdmin,
  requireTokenData,
} from '../../domain/actor.ts'
import { type DelegationLimits, requireDepth, requireRoom } from '../../domain/delegation.ts'
import { PorthorError, UnauthenticatedError } from '../../domain/errors.ts'
import { addSeconds, earlier, requireExpiry } from '../../domain/lifetime.ts'
import { type KnownScopes, requireHeld, requireKnown, type Scopes, toScopes } from '../../domain/scope.ts'
import {
  generateToken,
  NO_USER_INFO,
  type RootTokenData,
  type TokenKey,
  type UserInfo,
} from '../../domain/token.ts'
import { requireBotUsername, requireTokenName, requireUserInfo, requireUsername } from '../../domain/user.ts'
import type { TokenTransaction } from '../../stores/database/token-database.ts'
import { type CurrentTokenDeps, currentTokenName, holdCurrentToken } from './current-token.ts'
import type { TokenIssuer } from './token-issuer.ts'
import type { TokenNames } from './token-names.ts'

/** Who asks, and from which address. */
export interface Caller {
  readonly actor: Actor
  readonly ipAddress: string | null
}

export interface SessionTokenInput {
  readonly username: string
  readonly scopes: readonly string[]
  readonly userInfo?: UserInfo | undefined
}

export interface ServiceTokenInput extends SessionTokenInput {
  /** `null` for a token that never ends. */
  readonly expiresAt: Date | null
}

export interface UserTokenInput {
  /** The actor's own where it is left out. */
  readonly username?: string | undefined
  readonly tokenName: string
  readonly scopes: readonly string[]
  readonly expiresAt: Date | null
  readonly userInfo?: UserInfo | undefined
}

type TokenFacts = Pick<RootTokenData, 'username' | 'scopes' | 'userInfo' | 'expiresAt'>

export interface TokenServiceDeps extends CurrentTokenDeps {
  readonly issuer: TokenIssuer
  readonly names: TokenNames
  readonly knownScopes: KnownScopes
  /** Life of a session, in seconds. */
  readonly tokenLifetime: number
  readonly limits: DelegationLimits
  /** Whether internal and notebook tokens may create tokens, which are then revoked with them. */
  readonly mayDelegatedTokensCreate: boolean
}

/**
 * Makes the tokens that nobody delegated. Checks go: may the actor do this, then username, name,
 * expiry, scopes, user information.
 *
 * All methods throw `PorthorError` with the code of the first check that fails, and `UnavailableError`
 * when a store did not answer; nothing was made then. An
 * `UnauthenticatedError` means that the current token has been revoked, or has expired, since it was authenticated.
 */
export class TokenService {
  readonly #deps: TokenServiceDeps

  constructor(deps: TokenServiceDeps) {
    this.#deps = deps
  }

  /** A session, as after a log-in. It lives for the token lifetime. */
  createSession(caller: Caller, input: SessionTokenInput): Promise<RootTokenData> {
    return this.#issue(caller, 'session', null, (actor) => {
      requireAdmin(actor)
      requireUsername(input.username)
      return {
        username: input.username,
        scopes: this.#requireScopes(actor, input.scopes),
        userInfo: requireOptionalUserInfo(input.userInfo),
        expiresAt: addSeconds(this.#now(), this.#deps.tokenLifetime),
      }
    })
  }

  /** A token for a bot, whose username begins with `bot-`. */
  createService(caller: Caller, input: ServiceTokenInput): Promise<RootTokenData> {
    return this.#issue(caller, 'service', null, (actor) => {
      requireAdmin(actor)
      requireBotUsername(input.username)
      return {
        username: input.username,
        expiresAt: this.#requireExpiry(input.expiresAt),
        scopes: this.#requireScopes(actor, input.scopes),
        userInfo: requireOptionalUserInfo(input.userInfo),
      }
    })
  }

  /** A user token: for oneself, or by an admin for anybody. */
  createUser(caller: Caller, input: UserTokenInput): Promise<RootTokenData> {
    return this.#issue(caller, 'user', input.tokenName, (actor) => {
      const username = input.username ?? ownUsername(actor)
      requireSelfOrAdmin(actor, username)
      requireUsername(username)
      requireTokenName(input.tokenName)
      return {
        username,
        expiresAt: this.#requireExpiry(input.expiresAt),
        scopes: this.#requireScopes(actor, input.scopes),
        userInfo: userInfoFor(actor, username, input.userInfo),
      }
    })
  }

  /**
   * @param toFacts What is asked for; throws where the actor may not have it. Judged before anything is asked of a
   *   store, and again by what the current token is once it is held.
   */
  async #issue(
    { actor, ipAddress }: Caller,
    type: RootTokenData['type'],
    tokenName: string | null,
    toFacts: (actor: Actor) => TokenFacts,
  ): Promise<RootTokenData> {
    this.#requireMayCreate(actor)
    toFacts(actor)
    const token = generateToken()
    const nameOf = () => (tokenName === null ? undefined : { username: toFacts(actor).username, tokenName })
    const make = () =>
      this.#deps.issuer.transaction(currentTokenName(actor), async (tx, issue) => {
        const current = await holdCurrentToken(this.#deps, tx, actor)
        this.#requireMayCreate(current)
        const { expiresAt, ...facts } = toFacts(current)
        const parent = isDelegated(current) ? requireTokenData(current) : undefined
        if (parent) await this.#requireWithinLimits(tx, parent.token.key)
        const data: RootTokenData = {
          token,
          type,
          ...facts,
          createdAt: this.#now(),
          expiresAt: earlier(expiresAt, parent?.expiresAt ?? null),
        }
        await issue(
          { data, tokenName, parentKey: parent?.token.key ?? null },
          { actor: actorName(current), ipAddress },
        )
        return data
      })
    return this.#deps.names.withFreeName(nameOf, make)
  }

  /** What a delegated token creates is a child as those are that are delegated from it. */
  async #requireWithinLimits(tx: TokenTransaction, parentKey: TokenKey): Promise<void> {
    const { limits } = this.#deps
    const parent = await tx.lockForChild(parentKey, limits)
    if (!parent) throw new UnauthenticatedError('unknown')
    requireDepth(parent.depth, limits)
    if (!parent.isCrowded) return
    requireRoom(await tx.countLiveChildren(parentKey, this.#now(), limits.maxChildren), limits)
  }

  #requireMayCreate(actor: Actor): void {
    requireMayChangeTokens(actor, this.#deps.mayDelegatedTokensCreate)
  }

  #requireExpiry(expiresAt: Date | null): Date | null {
    return expiresAt && requireExpiry(expiresAt, this.#now())
  }

  /** Admins give any known scope, others only what they hold. */
  #requireScopes(actor: Actor, names: readonly string[]): Scopes {
    const scopes = toScopes(names)
    requireKnown(scopes, this.#deps.knownScopes)
    if (!isAdmin(actor)) requireHeld(scopes, actorScopes(actor))
    return scopes
  }

  #now(): Date {
    return this.#deps.clock.nowToSecond()
  }
}

function ownUsername(actor: Actor): string {
  if (actor.kind === 'token') return actor.data.username
  throw new PorthorError('INVALID_USERNAME', "username is needed: the acting token is nobody's.")
}

function requireOptionalUserInfo(userInfo: UserInfo = NO_USER_INFO): UserInfo {
  requireUserInfo(userInfo)
  return userInfo
}

/** A user's own token inherits the user information of the acting one. */
function userInfoFor(actor: Actor, username: string, given: UserInfo | undefined): UserInfo {
  if (actor.kind !== 'token' || actor.data.username !== username) return requireOptionalUserInfo(given)
  if (given === undefined) return actor.data.userInfo
  throw new PorthorError(
    'INVALID_USER_INFO',
    'userInfo is for admins who create a token for someone else: your own token inherits yours.',
  )
}
