import { createHash } from 'node:crypto'
import { PorthorError } from './errors.ts'
import { addSeconds, earlier, MINIMUM_LIFETIME_SECONDS, secondsUntil } from './lifetime.ts'
import {
  formatScopes,
  isSameScopes,
  type Scopes,
  type UndelegableScopes,
  withoutUndelegable,
} from './scope.ts'
import type { DelegatedTokenData, TokenData, TokenKey } from './token.ts'
import { holdsBearerString, isExpired, serviceOf } from './token.ts'
import { isUsername } from './user.ts'

/** What a caller wants delegated: some scopes to a service, or all that can be delegated to a notebook. */
export type DelegationRequest =
  | { readonly type: 'internal'; readonly service: string; readonly scopes: Scopes }
  | { readonly type: 'notebook'; readonly undelegable: UndelegableScopes }

/** What the operator lets be delegated at the most. */
export interface DelegationLimits {
  readonly undelegableScopes: UndelegableScopes
  /** Delegated tokens in a chain of delegations. */
  readonly maxDepth: number
  /** Live children of one parent. */
  readonly maxChildren: number
}

/** A request as it is for one parent: what makes two children interchangeable. */
export interface DelegationShape {
  readonly parentKey: TokenKey
  /** The parent's, and so the child's. */
  readonly username: string
  readonly type: DelegationRequest['type']
  /** `null` for a notebook token. */
  readonly service: string | null
  readonly scopes: Scopes
}

const SERVICE_NAME = /^[A-Za-z0-9._-]{1,64}$/

/** @throws {PorthorError} `INVALID_SERVICE` */
export function requireService(service: string): void {
  if (SERVICE_NAME.test(service) && !holdsBearerString(service)) return
  throw new PorthorError(
    'INVALID_SERVICE',
    'service must be 1 to 64 characters of A-Z a-z 0-9 . _ - and not hold a token.',
  )
}

/**
 * No token is made for such a user here, so that another program must have made this one: it is not handed on.
 *
 * @throws {PorthorError} `PERMISSION_DENIED`
 */
export function requireParentUsername({ username }: TokenData): void {
  if (isUsername(username)) return
  throw new PorthorError(
    'PERMISSION_DENIED',
    'The acting token is of a user whose name is not a valid username, and nothing can be lent from it: use the token of another user.',
  )
}

/**
 * @param minimumSeconds What the caller asked for; `undefined` where it did not.
 * @throws {PorthorError} `INVALID_MINIMUM_LIFETIME`, when no token could promise it: a new child lives
 *   `delegatedLifetimeSeconds`, and is of no use if it must be replaced as soon as it is made.
 */
export function requireMinimumLifetime(
  minimumSeconds: number | undefined,
  delegatedLifetimeSeconds: number,
): void {
  const longest = delegatedLifetimeSeconds - MINIMUM_LIFETIME_SECONDS
  if (minimumSeconds === undefined) return
  if (minimumSeconds >= MINIMUM_LIFETIME_SECONDS && minimumSeconds <= longest) return
  throw new PorthorError(
    'INVALID_MINIMUM_LIFETIME',
    `minimumLifetime must be ${MINIMUM_LIFETIME_SECONDS} to ${longest} seconds.`,
  )
}

/** @throws {PorthorError} `INSUFFICIENT_LIFETIME`, when the parent ends before any useful child could. */
export function requireParentLifetime(
  parent: TokenData,
  minimumSeconds: number | undefined,
  now: Date,
): void {
  const needed = minimumSeconds ?? MINIMUM_LIFETIME_SECONDS
  if (secondsUntil(parent.expiresAt, now) >= needed) return
  throw new PorthorError(
    'INSUFFICIENT_LIFETIME',
    `The acting token ends in less than ${needed} s, and a delegated token cannot outlive it: log in again.`,
  )
}

/** The scopes that the child carries: all that the parent can delegate in a notebook token, those asked for in an internal one. */
export const childScopes = (parent: TokenData, request: DelegationRequest): Scopes =>
  request.type === 'notebook' ? withoutUndelegable(parent.scopes, request.undelegable) : request.scopes

export const shapeOf = (parent: TokenData, request: DelegationRequest): DelegationShape => ({
  parentKey: parent.token.key,
  username: parent.username,
  type: request.type,
  service: request.type === 'internal' ? request.service : null,
  scopes: childScopes(parent, request),
})

/**
 * What the in-memory caches file a child under: parent, the parent's expiry and, for internal tokens,
 * the service and the scopes. The expiry is part of it because prolonging the parent makes longer
 * children possible. Holds identifiers only, and no secret.
 */
export interface CacheKey {
  readonly parentKey: TokenKey
  /** The parent's end, in milliseconds since 1970; `null` where it has none. */
  readonly parentEndMs: number | null
  /** Empty for a notebook token. */
  readonly service: string
  /** None for a notebook token, which mirrors its parent. */
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

/** A signed 64-bit number for PostgreSQL's advisory locks: equal for equal shapes, in every process. */
export function shapeLockId({ parentKey, type, service, scopes }: DelegationShape): bigint {
  // A notebook mirrors its parent, whose scopes may change while one waits for the lock.
  const asked = type === 'notebook' ? null : formatScopes(scopes)
  return lockId(['porthor', parentKey, type, service, asked])
}

/** As `shapeLockId`, for all that is issued from one parent: equal in every process. */
export const parentLockId = (parentKey: TokenKey): bigint => lockId(['porthor parent', parentKey])

const lockId = (parts: readonly unknown[]): bigint =>
  createHash('sha256').update(JSON.stringify(parts)).digest().readBigInt64BE()

/**
 * @param depth Delegated tokens in the chain so far, the parent included.
 * @throws {PorthorError} `DELEGATION_TOO_DEEP`
 */
export function requireDepth(depth: number, { maxDepth }: DelegationLimits): void {
  if (depth < maxDepth) return
  throw new PorthorError(
    'DELEGATION_TOO_DEEP',
    `A chain of delegations has at most ${maxDepth} delegated tokens, and the current token is the last of ${depth}: delegate from a token that is nearer to the user's own.`,
  )
}

/**
 * @param children Live children of the parent.
 * @throws {PorthorError} `TOO_MANY_TOKENS`
 */
export function requireRoom(children: number, { maxChildren }: DelegationLimits): void {
  if (children < maxChildren) return
  throw new PorthorError(
    'TOO_MANY_TOKENS',
    `A token has at most ${maxChildren} live delegated tokens, and the current token has as many: ask for fewer services and sets of scopes, or wait until some expire.`,
  )
}

/** When a new child ends: after the delegated lifetime, but never after its parent. */
export const childExpiry = (parent: TokenData, delegatedLifetimeSeconds: number, now: Date): Date =>
  earlier(addSeconds(now, delegatedLifetimeSeconds), parent.expiresAt)

/**
 * The earliest end that a child found in the database may have. Capped at the parent's end, since no
 * new child could do better.
 */
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
 * Whether a child from the cache is handed out again. `minimumSeconds` replaces the half-life rule;
 * a child that ends with its parent is kept past half-life, as no longer one could be made.
 */
export function isReusable(
  child: TokenData,
  parent: TokenData,
  request: DelegationRequest,
  minimumSeconds: number | undefined,
  now: Date,
): child is DelegatedTokenData {
  if (child.type !== request.type || child.expiresAt === null || isExpired(child, now)) return false
  // A child with fewer would leave the caller without what it asked for, and other processes issue a second one.
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

/** What the database says of a child; the token store must agree before the child is handed out. */
export interface ChildRecord extends DelegationShape {
  readonly key: TokenKey
  readonly expiresAt: Date
}

/** Whether a child would be valid after its parent has ended: Gafaelfawr may shorten a parent without it. */
export const outlives = (child: Pick<ChildRecord, 'expiresAt'>, parent: TokenData): boolean =>
  parent.expiresAt !== null && child.expiresAt > parent.expiresAt

/** Whether the token store and the database describe the same child. The store alone decides validity. */
export const agrees = (data: TokenData, record: ChildRecord): data is DelegatedTokenData =>
  data.type === record.type &&
  data.username === record.username &&
  serviceOf(data) === record.service &&
  isSameScopes(data.scopes, record.scopes) &&
  data.expiresAt?.getTime() === record.expiresAt.getTime()
