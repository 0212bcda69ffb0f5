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
import {
  type KnownScopes,
  requireDelegable,
  requireHeld,
  requireKnown,
  type Scopes,
  toScopes,
} from '../../domain/scope.ts'
import {
  generateToken,
  NO_USER_INFO,
  type RootTokenData,
  type TokenKey,
  type UserInfo,
} from '../../domain/token.ts'
import { requireBotUsername, requireTokenName, requireUserInfo, requireUsername } from '../../domain/user.ts'
import type { TokenTransaction } from '../../stores/database/token-database.ts'
import { type CurrentTokenDeps, holdCurrentToken } from './current-token.ts'
import type { TokenIssuer } from './token-issuer.ts'
import type { TokenNames } from './token-names.ts'
import { writerOf } from './write-limit.ts'

/** Actor and client address of a request. */
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
  /** `null` for a token that never expires. */
  readonly expiresAt: Date | null
}

export interface UserTokenInput {
  /** Default: the actor's username. */
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
  /** Lifetime of a session token, in seconds. */
  readonly tokenLifetime: number
  readonly limits: DelegationLimits
  /** Whether internal and notebook tokens may create tokens, which are then revoked with them. */
  readonly mayDelegatedTokensCreate: boolean
}

/**
 * Issues session, service and user tokens. The order of the checks is: permission, username, token name, expiry, scopes,
 * user information.
 *
 * All methods throw `PorthorError` with the code of the first check that fails, and `UnavailableError` if a store does not
 * respond; no token is issued then. `UnauthenticatedError` means that the current token has been revoked, or has expired,
 * since it was authenticated.
 */
export class TokenService {
  readonly #deps: TokenServiceDeps

  constructor(deps: TokenServiceDeps) {
    this.#deps = deps
  }

  /** Issues a session token, as after a log-in. It expires after the configured lifetime. */
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

  /** Issues a service token for a bot, whose username begins with `bot-`. */
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

  /** Issues a user token for the actor's own user; an admin may name any user. */
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
   * @param toFacts Returns the requested values; throws if the actor may not have them. Called before the first command to
   *   a store, and again with the current token as it is once its row is held.
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
    const findName = () => (tokenName === null ? undefined : { username: toFacts(actor).username, tokenName })
    const issueToken = () =>
      this.#deps.issuer.transaction(writerOf(actor), async (tx, issue) => {
        const current = await holdCurrentToken(this.#deps, tx, actor)
        this.#requireMayCreate(current)
        const { expiresAt, ...facts } = toFacts(current)
        const parent = isDelegated(current) ? requireTokenData(current) : undefined
        if (parent) await this.#requireWithinLimits(tx, parent.token.key, facts.scopes)
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
    return this.#deps.names.withFreeName(findName, issueToken)
  }

  /** A token that a delegated token creates is a child of it, and counts as delegated. */
  async #requireWithinLimits(tx: TokenTransaction, parentKey: TokenKey, scopes: Scopes): Promise<void> {
    const { limits } = this.#deps
    requireDelegable(scopes, limits.undelegableScopes)
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

  /** Admins may grant any known scope, others only scopes that they hold. */
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
  throw new PorthorError('INVALID_USERNAME', 'username is required: the current token has no user.')
}

function requireOptionalUserInfo(userInfo: UserInfo = NO_USER_INFO): UserInfo {
  requireUserInfo(userInfo)
  return userInfo
}

/** A token for the actor's own user inherits the user information of the current token. */
function userInfoFor(actor: Actor, username: string, given: UserInfo | undefined): UserInfo {
  if (actor.kind !== 'token' || actor.data.username !== username) return requireOptionalUserInfo(given)
  if (given === undefined) return actor.data.userInfo
  throw new PorthorError(
    'INVALID_USER_INFO',
    'userInfo is only for tokens of other users: leave it out, and your token has the user information of the current one.',
  )
}
