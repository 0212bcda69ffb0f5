import type { Scopes } from './scope.ts'
import type { TokenKey, TokenType } from './token.ts'

/** What can happen to a token, in the order of the database's enum type. */
export const TOKEN_CHANGE_ACTIONS = ['create', 'revoke', 'expire', 'edit'] as const

export type TokenChangeAction = (typeof TOKEN_CHANGE_ACTIONS)[number]

/** Who did something: a username, or one of the two that are nobody's. */
export const BOOTSTRAP_ACTOR = '<bootstrap>'
export const INTERNAL_ACTOR = '<internal>'

/** Who changes a token, and from where. */
export interface Origin {
  readonly actor: string
  /** `null` for changes that no request asked for. */
  readonly ipAddress: string | null
}

/** What the database has on record of a token. */
export interface TokenRecord {
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
