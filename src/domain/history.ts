import type { Scopes } from './scope.ts'
import type { TokenKey, TokenType } from './token.ts'

/** Kinds of history events, in the order of the database's enum type. */
export const TOKEN_CHANGE_ACTIONS = ['create', 'revoke', 'expire', 'edit'] as const

export type TokenChangeAction = (typeof TOKEN_CHANGE_ACTIONS)[number]

/** Actors that are no users; any other actor is a username. */
export const BOOTSTRAP_ACTOR = '<bootstrap>'
export const INTERNAL_ACTOR = '<internal>'

/** Actor and client address of a change. */
export interface Origin {
  readonly actor: string
  /** `null` for changes without an HTTP request. */
  readonly ipAddress: string | null
}

/** A row of the table `token`, with its parent. */
export interface NewTokenRow {
  readonly key: TokenKey
  readonly username: string
  readonly type: TokenType
  /** Set for user tokens only. */
  readonly tokenName: string | null
  /** Set for internal tokens only. */
  readonly service: string | null
  readonly scopes: Scopes
  readonly createdAt: Date
  readonly expiresAt: Date | null
  /** Set for delegated tokens only. */
  readonly parentKey: TokenKey | null
}
