import { earlier } from './lifetime.ts'
import { intersect, isSameScopes, type Scopes } from './scope.ts'

/** What a token grants: its scopes, until it expires. */
export interface Grant {
  readonly scopes: Scopes
  /** `null` for a token that never expires. */
  readonly expiresAt: Date | null
}

/** Returns what both grant: the scopes that are in both, until the earlier expiry. */
export const commonGrant = (left: Grant, right: Grant): Grant => ({
  scopes: intersect(left.scopes, right.scopes),
  expiresAt: earlier(left.expiresAt, right.expiresAt),
})

export const isSameExpiry = (left: Date | null, right: Date | null): boolean =>
  left?.getTime() === right?.getTime()

export const isSameGrant = (left: Grant, right: Grant): boolean =>
  isSameScopes(left.scopes, right.scopes) && isSameExpiry(left.expiresAt, right.expiresAt)
