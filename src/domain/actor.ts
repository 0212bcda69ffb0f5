import { PorthorError } from './errors.ts'
import { BOOTSTRAP_ACTOR, INTERNAL_ACTOR } from './history.ts'
import { ADMIN_SCOPE, type Scopes, USER_SCOPE } from './scope.ts'
import { isDelegatedType, type TokenData } from './token.ts'

/**
 * Who makes a request: the holder of a token; the holder of the bootstrap token, which is stored nowhere; or the
 * operator, by the command line. The last two are admins, and no users.
 */
export type Actor =
  | { readonly kind: 'bootstrap' }
  | { readonly kind: 'operator' }
  | {
      readonly kind: 'token'
      readonly data: TokenData
      /** Whether the database has a parent of this token; `undefined` until it is queried. */
      readonly hasParent?: boolean
    }

const ADMIN_SCOPES: Scopes = [ADMIN_SCOPE]

const NAMES = { bootstrap: BOOTSTRAP_ACTOR, operator: INTERNAL_ACTOR } as const

/** Name of the actor in history, logs and rules. */
export const actorName = (actor: Actor): string =>
  actor.kind === 'token' ? actor.data.username : NAMES[actor.kind]

export const actorScopes = (actor: Actor): Scopes =>
  actor.kind === 'token' ? actor.data.scopes : ADMIN_SCOPES

export const isAdmin = (actor: Actor): boolean => actorScopes(actor).includes(ADMIN_SCOPE)

/** Whose tokens and history are visible: those of one user, or with `null` those of every user. */
export type Visibility = string | null

/** Returns whose tokens and history the actor may see: those of its user; as an admin, those of every user. */
export const visibilityOf = (actor: Actor): Visibility => (isAdmin(actor) ? null : actorName(actor))

/** Whether the actor may see the tokens and the history of `username`. */
export function maySee(actor: Actor, username: string): boolean {
  const visibility = visibilityOf(actor)
  return visibility === null || visibility === username
}

/** @throws {PorthorError} `PERMISSION_DENIED` unless the actor is an admin. */
export function requireAdmin(actor: Actor): void {
  if (isAdmin(actor)) return
  throw new PorthorError('PERMISSION_DENIED', `This requires a token with the scope ${ADMIN_SCOPE}.`, {
    facts: { sufficientScopes: ADMIN_SCOPES },
  })
}

/** @throws {PorthorError} `PERMISSION_DENIED` unless `username` is the actor's own, with `user:token`, or the actor is an admin. */
export function requireSelfOrAdmin(actor: Actor, username: string): void {
  if (isAdmin(actor)) return
  if (username !== actorName(actor)) requireAdmin(actor)
  if (actorScopes(actor).includes(USER_SCOPE)) return
  throw new PorthorError(
    'PERMISSION_DENIED',
    `This requires a token with the scope ${USER_SCOPE} or ${ADMIN_SCOPE}.`,
    { facts: { sufficientScopes: [USER_SCOPE, ADMIN_SCOPE] } },
  )
}

/**
 * Whether the actor is a delegated token, or a token that a delegated one created: the tokens that it creates must expire
 * no later than it.
 */
export const isDelegated = (actor: Actor): boolean =>
  actor.kind === 'token' && (actor.hasParent === true || isDelegatedType(actor.data))

/** @throws {PorthorError} `PERMISSION_DENIED` for a delegated token, unless such tokens may create and modify others. */
export function requireMayChangeTokens(actor: Actor, mayDelegatedTokensCreate: boolean): void {
  if (mayDelegatedTokensCreate || !isDelegated(actor)) return
  throw new PorthorError(
    'PERMISSION_DENIED',
    'A delegated token may not create or modify tokens: use a session or user token of the user.',
  )
}

/**
 * The holder of a token may always revoke that token; others need `user:token` for their own, or `admin:token`.
 *
 * @throws {PorthorError} `PERMISSION_DENIED`
 */
export function requireMayRevoke(actor: Actor, key: string): void {
  if (actor.kind === 'token' && actor.data.token.key === key) return
  requireSelfOrAdmin(actor, actorName(actor))
}

/** @throws {PorthorError} `PERMISSION_DENIED` for the bootstrap token, which has no user and no record. */
export function requireTokenData(actor: Actor): TokenData {
  if (actor.kind === 'token') return actor.data
  throw new PorthorError('PERMISSION_DENIED', 'The bootstrap token has no user: use a token of a user.')
}
