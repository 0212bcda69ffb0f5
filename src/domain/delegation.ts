import { PorthorError, type TokenRole } from './errors.ts'
import { addSeconds, earlier, MIN_LIFETIME_SECONDS, secondsUntil } from './lifetime.ts'
import { isSameScopes, type Scopes, type UndelegableScopes, withoutUndelegable } from './scope.ts'
import type { ServiceScopes } from './service-scopes.ts'
import type { DelegatedTokenData, TokenData, TokenKey } from './token.ts'
import { holdsBearerString, isExpired, serviceOf } from './token.ts'
import { isUsername } from './user.ts'

/** A request for a delegated token: some scopes for a service, or all delegable scopes for a notebook. */
export type DelegationRequest =
  | { readonly type: 'internal'; readonly service: string; readonly scopes: Scopes }
  | { readonly type: 'notebook'; readonly undelegable: UndelegableScopes }

/** Limits on delegation, as the operator configured them. */
export interface DelegationLimits {
  readonly undelegableScopes: UndelegableScopes
  /** `undefined` where every service may be given every scope that may be delegated. */
  readonly services: ServiceScopes | undefined
  /** Number of delegated tokens in a chain of delegations. */
  readonly maxDepth: number
  /** Number of live children of one parent. */
  readonly maxChildren: number
}

/** What two requests have in common when they can share a child. */
export interface RequestKey {
  readonly parentKey: TokenKey
  /** Username of the parent, and so of the child. */
  readonly username: string
  readonly type: DelegationRequest['type']
  /** `null` for a notebook token. */
  readonly service: string | null
  readonly scopes: Scopes
}

const SERVICE_NAME = /^[A-Za-z0-9._-]{1,64}$/

export const isServiceName = (service: string): boolean =>
  SERVICE_NAME.test(service) && !holdsBearerString(service)

/** @throws {PorthorError} `INVALID_SERVICE` */
export function requireService(service: string): void {
  if (isServiceName(service)) return
  throw new PorthorError(
    'INVALID_SERVICE',
    'service must be 1 to 64 characters of A-Z a-z 0-9 . _ - and must not contain a token.',
    { facts: { pattern: SERVICE_NAME.source } },
  )
}

/**
 * Porthor issues no token for an invalid username, so another program wrote this one: nothing is delegated from it.
 *
 * @throws {PorthorError} `PERMISSION_DENIED`
 */
export function requireParentUsername({ username }: TokenData): void {
  if (isUsername(username)) return
  throw new PorthorError(
    'PERMISSION_DENIED',
    'The username of the current token is not valid, so nothing can be delegated from it: use a token of another user.',
  )
}

/**
 * @param minimumSeconds `undefined` where the caller gave none.
 * @throws {PorthorError} `INVALID_MINIMUM_LIFETIME`, when no token could meet it for long: a new child has
 *   `delegatedLifetimeSeconds`, and must not need a replacement right after it is issued.
 */
export function requireMinimumLifetime(
  minimumSeconds: number | undefined,
  delegatedLifetimeSeconds: number,
): void {
  if (minimumSeconds === undefined) return
  const [minimum, maximum] = [MIN_LIFETIME_SECONDS, delegatedLifetimeSeconds - MIN_LIFETIME_SECONDS]
  if (minimumSeconds >= minimum && minimumSeconds <= maximum) return
  throw new PorthorError(
    'INVALID_MINIMUM_LIFETIME',
    `minimumLifetime must be ${minimum} to ${maximum} seconds.`,
    { facts: { minimum, maximum } },
  )
}

/**
 * @param role Which token the message names.
 * @throws {PorthorError} `INSUFFICIENT_LIFETIME`, when the parent expires too soon for a child of the requested lifetime.
 */
export function requireParentLifetime(
  parent: TokenData,
  minimumSeconds: number | undefined,
  now: Date,
  role: TokenRole = 'current',
): void {
  const minimum = minimumSeconds ?? MIN_LIFETIME_SECONDS
  if (secondsUntil(parent.expiresAt, now) >= minimum) return
  throw new PorthorError(
    'INSUFFICIENT_LIFETIME',
    `The ${role} token expires in less than ${minimum} s, and a delegated token cannot outlive it: log in again.`,
    { facts: { minimum } },
  )
}

/** Scopes of the child: all delegable scopes of the parent for a notebook token, the requested ones for an internal token. */
export const childScopes = (parent: TokenData, request: DelegationRequest): Scopes =>
  request.type === 'notebook' ? withoutUndelegable(parent.scopes, request.undelegable) : request.scopes

export const requestKey = (parent: TokenData, request: DelegationRequest): RequestKey => ({
  parentKey: parent.token.key,
  username: parent.username,
  type: request.type,
  service: request.type === 'internal' ? request.service : null,
  scopes: childScopes(parent, request),
})

/**
 * Key of a child in the in-memory caches: parent, the parent's expiry and, for internal tokens, the service and the
 * scopes. The expiry is part of it because a parent that is extended can have longer children. Holds no secret.
 */
export interface CacheKey {
  readonly parentKey: TokenKey
  /** The parent's expiry, in milliseconds since 1970; `null` where it never expires. */
  readonly parentEndMs: number | null
  /** Empty for a notebook token. */
  readonly service: string
  /** Empty for a notebook token, whose scopes follow its parent's. */
  readonly scopes: Scopes
}

export const cacheKey = ({ token, expiresAt }: TokenData, request: DelegationRequest): CacheKey => ({
  parentKey: token.key,
  parentEndMs: expiresAt?.getTime() ?? null,
  service: request.type === 'internal' ? request.service : '',
  scopes: request.type === 'internal' ? request.scopes : NO_SCOPES,
})

const NO_SCOPES: Scopes = []

export const isSameCacheKey = (left: CacheKey, right: CacheKey): boolean =>
  left.parentKey === right.parentKey &&
  left.parentEndMs === right.parentEndMs &&
  left.service === right.service &&
  isSameScopes(left.scopes, right.scopes)

/**
 * @param depth Number of delegated tokens in the chain, the parent included.
 * @throws {PorthorError} `DELEGATION_TOO_DEEP`
 */
export function requireDepth(depth: number, { maxDepth }: DelegationLimits): void {
  if (depth < maxDepth) return
  throw new PorthorError(
    'DELEGATION_TOO_DEEP',
    `A chain of delegations may have at most ${maxDepth} delegated tokens, and the current token is the last of ${depth}: delegate from a token that is nearer to the user's session.`,
    { facts: { maximum: maxDepth } },
  )
}

/**
 * @param children Number of live children of the parent.
 * @throws {PorthorError} `TOO_MANY_TOKENS`
 */
export function requireRoom(children: number, { maxChildren }: DelegationLimits): void {
  if (children < maxChildren) return
  throw new PorthorError(
    'TOO_MANY_TOKENS',
    `A token may have at most ${maxChildren} live delegated tokens, and the current token has as many: request fewer services and sets of scopes, or wait until some expire.`,
    { facts: { maximum: maxChildren } },
  )
}

/** Expiry of a new child: after the delegated lifetime, but never after the parent's. */
export const childExpiry = (parent: TokenData, delegatedLifetimeSeconds: number, now: Date): Date =>
  earlier(addSeconds(now, delegatedLifetimeSeconds), parent.expiresAt)

/** Earliest expiry that a child from the database may have. Capped at the parent's, since a new child would be too. */
export function minimumExpiry(
  parent: TokenData,
  minimumSeconds: number | undefined,
  delegatedLifetimeSeconds: number,
  now: Date,
): Date {
  const needed = minimumSeconds ?? delegatedLifetimeSeconds / 2
  return earlier(addSeconds(now, needed), parent.expiresAt)
}

/**
 * Whether a child from the cache may be reused. `minimumSeconds` replaces the half-life rule; a child that expires with
 * its parent is reused past half-life, since no longer one can be issued.
 */
export function isReusable(
  child: TokenData,
  parent: TokenData,
  request: DelegationRequest,
  minimumSeconds: number | undefined,
  now: Date,
): child is DelegatedTokenData {
  if (child.type !== request.type || child.expiresAt === null || isExpired(child, now)) return false
  // A child with other scopes is not what the caller asked for, and other processes would issue a second one.
  const fits = isSameScopes(child.scopes, childScopes(parent, request))
  return fits && livesLongEnough(child, parent, minimumSeconds, now)
}

function livesLongEnough(
  child: TokenData,
  parent: TokenData,
  minimumSeconds: number | undefined,
  now: Date,
): boolean {
  const remaining = secondsUntil(child.expiresAt, now)
  if (minimumSeconds !== undefined) return remaining >= minimumSeconds
  const endsWithParent = child.expiresAt?.getTime() === parent.expiresAt?.getTime()
  return endsWithParent || remaining >= secondsUntil(child.expiresAt, child.createdAt) / 2
}

/** A child as the database has it; the token store must agree before the child is reused. */
export interface ChildRecord extends RequestKey {
  readonly key: TokenKey
  readonly expiresAt: Date
}

/** Whether a child expires after its parent: Gafaelfawr may shorten a parent without its children. */
export const outlives = (child: Pick<ChildRecord, 'expiresAt'>, parent: TokenData): boolean =>
  parent.expiresAt !== null && child.expiresAt > parent.expiresAt

/** Whether the token store and the database describe the same child. The store alone decides validity. */
export const agrees = (data: TokenData, record: ChildRecord): data is DelegatedTokenData =>
  data.type === record.type &&
  data.username === record.username &&
  serviceOf(data) === record.service &&
  isSameScopes(data.scopes, record.scopes) &&
  data.expiresAt?.getTime() === record.expiresAt.getTime()
