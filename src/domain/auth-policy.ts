import { requireParentLifetime } from './delegation.ts'
import { PorthorError } from './errors.ts'
import { isWithin, type Scopes } from './scope.ts'
import { serviceOf, type TokenData } from './token.ts'

/** What a gateway asks Porthor to check of a request, and to delegate. The operator states it, never a client. */
export type AuthPolicy = AnonymousPolicy | TokenPolicy

/** Everybody passes; only bearer strings of ours are removed. */
export interface AnonymousPolicy {
  readonly name: string
  readonly kind: 'anonymous'
}

export interface TokenPolicy extends ScopeRequirement, HolderRequirement {
  readonly name: string
  readonly kind: 'token'
  /** `undefined`: nothing is delegated. */
  readonly delegate: PolicyDelegation | undefined
  /** Least remaining lifetime of the user's token, and of a delegated token, in seconds. */
  readonly minimumLifetime: number | undefined
  /** What the service gets as `Authorization`: the delegated token, nothing, or what the client sent. */
  readonly authorization: 'replace' | 'remove' | 'keep'
}

export type PolicyDelegation =
  | { readonly type: 'notebook' }
  /** The token gets those of the scopes that the user's token holds. */
  | { readonly type: 'internal'; readonly service: string; readonly scopes: Scopes }

export interface ScopeRequirement {
  readonly require: Scopes
  /** Whether all scopes of `require` are needed, or any one of them. */
  readonly satisfy: 'all' | 'any'
}

export interface HolderRequirement {
  /** Services of which the user's token must be an internal token; `undefined`: any token. */
  readonly onlyServices: readonly string[] | undefined
  /** The only user who passes; `undefined`: every user. */
  readonly username: string | undefined
}

/** Pattern of the name of a policy, which is a segment of a path: neither `.` nor `..`. */
export const POLICY_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** Whether the scopes of a token satisfy the requirement. None satisfies `any` of no scopes. */
export const hasRequiredScopes = ({ require, satisfy }: ScopeRequirement, held: Scopes): boolean =>
  satisfy === 'all' ? isWithin(require, held) : require.some((scope) => held.includes(scope))

/** Whether the user and the service of the token satisfy the requirement, whatever its scopes are. */
export function isForHolder({ onlyServices, username }: HolderRequirement, data: TokenData): boolean {
  const service = serviceOf(data)
  if (onlyServices && (service === null || !onlyServices.includes(service))) return false
  return username === undefined || username === data.username
}

/** The token does not satisfy `require`. */
export class InsufficientScopeError extends PorthorError {
  readonly requiredScopes: Scopes

  constructor(requiredScopes: Scopes) {
    super('PERMISSION_DENIED', 'The token does not hold the required scopes.')
    this.requiredScopes = requiredScopes
  }
}

/**
 * Checks that the holder of a valid token passes.
 *
 * @throws {PorthorError} `INSUFFICIENT_LIFETIME`, `PERMISSION_DENIED`
 */
export function requirePasses(policy: TokenPolicy, data: TokenData, now: Date): void {
  const { delegate, minimumLifetime } = policy
  if (delegate !== undefined || minimumLifetime !== undefined) {
    requireParentLifetime(data, minimumLifetime, now)
  }
  if (!hasRequiredScopes(policy, data.scopes)) throw new InsufficientScopeError(policy.require)
  if (!isForHolder(policy, data)) {
    throw new PorthorError('PERMISSION_DENIED', 'The token is not of a service or user that may pass.')
  }
}
