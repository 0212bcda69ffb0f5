import { type Actor, actorName } from '../../domain/actor.ts'
import { UnauthenticatedError, UnavailableError } from '../../domain/errors.ts'
import { earlier } from '../../domain/lifetime.ts'
import { intersect } from '../../domain/scope.ts'
import { isExpired, type TokenData } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import { equalInConstantTime } from '../../lib/equal.ts'
import { Turns } from '../../lib/turns.ts'
import type { HeldToken, TokenHolder } from '../../stores/database/current-token.ts'
import type { TokenStore } from '../../stores/token-store/token-store.ts'

export interface CurrentTokenDeps {
  readonly tokens: Pick<TokenStore, 'find'>
  readonly clock: Clock
}

/** What both stores say of a token whose row is held. Either may be missing. */
export interface TokenInBothStores {
  readonly data: TokenData | undefined
  readonly row: HeldToken | undefined
}

/**
 * Reads the record of a token whose row is held, past every client-side cache. A token counts as missing whose revocation
 * is decided, or that of one of its ancestors.
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

/** The token with what both stores grant: an edit may have reached one of them alone. */
export const grantedByBoth = (data: TokenData, row: HeldToken): TokenData => ({
  ...data,
  scopes: intersect(data.scopes, row.scopes),
  expiresAt: earlier(data.expiresAt, row.expiresAt),
})

/**
 * Holds the current token until the transaction ends, and returns the actor as both stores know it now: since it was
 * authenticated it may have been revoked, or narrowed. An operator and the bootstrap token have nothing to hold.
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

/** How long a write waits for others of its current token, in milliseconds. */
const MAX_WAIT_MS = 5_000

/** Writes under way for one current token: one that is flooded with requests leaves connections to the others. */
const MAX_WRITES_PER_TOKEN = 4

/** Turns of the current tokens, to be taken before a connection is. */
export const openTurns = (): Turns =>
  new Turns({
    max: MAX_WRITES_PER_TOKEN,
    maxWaitMs: MAX_WAIT_MS,
    tooLate: () =>
      new UnavailableError('postgres', new Error('waited too long for others of the current token')),
  })

/** Names whose turn it is: writes with one current token wait for each other, those with others do not. */
export const currentTokenName = (actor: Actor): string =>
  actor.kind === 'token' ? actor.data.token.key : actorName(actor)
