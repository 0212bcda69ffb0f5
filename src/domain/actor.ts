import { PorthorError } from './errors.ts'
import { BOOTSTRAP_ACTOR, INTERNAL_ACTOR } from './history.ts'
import { ADMIN_SCOPE, type Scopes, USER_SCOPE } from './scope.ts'
import type { TokenData, TokenKey } from './token.ts'

/**
 * Who is asking: the holder of a token; the holder of the bootstrap token, which is stored nowhere; or the
 * operator at the machine, by the command line. The last two are admins, and nobody's.
 */
export type Actor =
  | { readonly kind: 'bootstrap' }
  | { readonly kind: 'operator' }
  | {
      readonly kind: 'token'
      readonly data: TokenData
      /** Whether the database says that another token made this one; `undefined` while it was not asked. */
      readonly hasParent?: boolean
    }

const ADMIN_SCOPES: Scopes = [ADMIN_SCOPE]

const NAMES = { bootstrap: BOOTSTRAP_ACTOR, operator: INTERNAL_ACTOR } as const

/** The username that history, logs and rules know the actor by. */
export const actorName = (actor: Actor): string =>
  actor.kind === 'token' ? actor.data.username : NAMES[actor.kind]

export const actorScopes = (actor: Actor): Scopes =>
  actor.kind === 'token' ? actor.data.scopes : ADMIN_SCOPES

export const isAdmin = (actor: Actor): boolean => actorScopes(actor).includes(ADMIN_SCOPE)

/** @throws {PorthorError} `PERMISSION_DENIED` unless the actor is an admin. */
export function requireAdmin(actor: Actor): void {
  if (isAdmin(actor)) return
  throw new PorthorError('PERMISSION_DENIED', `This needs a token with the scope ${ADMIN_SCOPE}.`)
}

/** @throws {PorthorError} `PERMISSION_DENIED` unless `username` is the actor's own, with `user:token`, or the actor is an admin. */
export function requireSelfOrAdmin(actor: Actor, username: string): void {
  if (isAdmin(actor)) return
  if (username !== actorName(actor)) requireAdmin(actor)
  if (actorScopes(actor).includes(USER_SCOPE)) return
  throw new PorthorError(
    'PERMISSION_DENIED',
    `This needs a token with the scope ${USER_SCOPE} or ${ADMIN_SCOPE}.`,
  )
}

/**
 * Whether the actor is a token that another one delegated, or made where delegated tokens may: what it makes has to end
 * with it.
 */
export const isDelegated = (actor: Actor): boolean =>
  actor.kind === 'token' &&
  (actor.hasParent === true || actor.data.type === 'internal' || actor.data.type === 'notebook')

/** @throws {PorthorError} `PERMISSION_DENIED` for a delegated token, unless such tokens may create and modify others. */
export function requireMayChangeTokens(actor: Actor, mayDelegatedTokensCreate: boolean): void {
  if (mayDelegatedTokensCreate || !isDelegated(actor)) return
  throw new PorthorError(
    'PERMISSION_DENIED',
    "A delegated token creates and modifies no tokens: use a token of the user's own.",
  )
}

/**
 * The holder of a token may always revoke that token; others need `user:token` for their own, or `admin:token`.
 *
 * @throws {PorthorError} `PERMISSION_DENIED`
 */
export function requireMayRevoke(actor: Actor, key: TokenKey): void {
  if (actor.kind === 'token' && actor.data.token.key === key) return
  requireSelfOrAdmin(actor, actorName(actor))
}

/** @throws {PorthorError} `PERMISSION_DENIED` for the bootstrap token, which is no user's and has no record. */
export function requireTokenData(actor: Actor): TokenData {
  if (actor.kind === 'token') return actor.data
  throw new PorthorError('PERMISSION_DENIED', "The bootstrap token is nobody's: use the token of a user.")
}
