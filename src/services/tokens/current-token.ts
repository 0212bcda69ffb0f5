import type { Actor } from '../../domain/actor.ts'
import { UnauthenticatedError } from '../../domain/errors.ts'
import { commonGrant } from '../../domain/grant.ts'
import { isExpired, type TokenData } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { equalInConstantTime } from '../../lib/equal.ts'
import type { HeldToken, TokenHolder } from '../../stores/database/current-token.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'

export interface CurrentTokenDeps {
  readonly tokens: Pick<TokenStore, 'find'>
  readonly clock: Clock
}

/** A token in both stores while its row is held. Either may be missing. */
export interface TokenInBothStores {
  readonly data: TokenData | undefined
  readonly row: HeldToken | undefined
}

/**
 * Reads the record of a token whose row is held, without a client-side cache. The record counts as missing once the
 * revocation of the token, or of one of its ancestors, is decided.
 */
export async function readHeld(
  { tokens }: Pick<CurrentTokenDeps, 'tokens'>,
  tx: Pick<TokenHolder, 'isBeingRevoked'>,
  row: HeldToken | undefined,
  { token }: TokenData,
): Promise<TokenInBothStores> {
  const [record, isBeingRevoked] = await Promise.all([
    tokens.find(token.key, { isFresh: true }),
    tx.isBeingRevoked(token.key),
  ])
  const isSame = record !== undefined && equalInConstantTime(record.token.secret, token.secret)
  return { data: isSame && !isBeingRevoked ? record : undefined, row }
}

/** Returns the token with what both stores grant: an edit may have reached only one of them. */
export const grantedByBoth = (data: TokenData, row: HeldToken): TokenData => ({
  ...data,
  ...commonGrant(data, row),
})

/**
 * Holds the current token until the transaction ends, and returns the actor as both stores have it now: the token may
 * have been revoked or narrowed since it was authenticated. An operator and the bootstrap token have no row to hold.
 *
 * @throws {UnauthenticatedError} The token has been revoked, has expired, or is missing in one of the stores.
 */
export async function holdCurrentToken(
  deps: CurrentTokenDeps,
  tx: TokenHolder,
  actor: Actor,
): Promise<Actor> {
  if (actor.kind !== 'token') return actor
  const row = await tx.hold(actor.data.token.key)
  const { data } = await readHeld(deps, tx, row, actor.data)
  if (!data || !row) throw new UnauthenticatedError('unknown')
  const current = grantedByBoth(data, row)
  if (isExpired(current, deps.clock.now())) throw new UnauthenticatedError('unknown')
  return { kind: 'token', data: current, hasParent: row.hasParent }
}
