import { randomBytes } from 'node:crypto'
import { UnauthenticatedError } from './errors.ts'
import type { Scopes } from './scope.ts'

declare const brand: unique symbol

/** Public half of a token, 22 characters. Identifies it in logs, history and queries; never enough to authenticate. */
export type TokenKey = string & { readonly [brand]: 'TokenKey' }

/** Private half of a token, 22 characters. Never logged; compared in constant time. */
export type TokenSecret = string & { readonly [brand]: 'TokenSecret' }

export interface Token {
  readonly key: TokenKey
  readonly secret: TokenSecret
}

/** Types of token, in the order of the database's enum type. */
export const TOKEN_TYPES = ['session', 'user', 'notebook', 'internal', 'service', 'oidc'] as const

export type TokenType = (typeof TOKEN_TYPES)[number]

/**
 * Numeric identifier of a user or group. A `bigint` only beyond `Number.MAX_SAFE_INTEGER`, where a number is not exact:
 * Gafaelfawr keeps integers of any size.
 */
export type NumericId = number | bigint

export interface Group {
  readonly name: string
  readonly id: NumericId
}

/** User information that a token records. `null` means not recorded: a service looks it up elsewhere. */
export interface UserInfo {
  readonly name: string | null
  readonly email: string | null
  readonly uid: NumericId | null
  readonly gid: NumericId | null
  readonly groups: readonly Group[] | null
}

export const NO_USER_INFO: UserInfo = { name: null, email: null, uid: null, gid: null, groups: null }

interface TokenDataBase {
  readonly token: Token
  readonly username: string
  readonly userInfo: UserInfo
  readonly scopes: Scopes
  /** Whole seconds. */
  readonly createdAt: Date
  /** Whole seconds; `null` for a token that never expires. */
  readonly expiresAt: Date | null
}

/** Data of an internal token. Only this type is tied to a service. */
export interface InternalTokenData extends TokenDataBase {
  readonly type: 'internal'
  /** Service that the token is delegated to. */
  readonly service: string
}

export interface NotebookTokenData extends TokenDataBase {
  readonly type: 'notebook'
}

/** Data of a token that is not delegated, or that Gafaelfawr issued to an OpenID Connect client. */
export interface RootTokenData extends TokenDataBase {
  readonly type: Exclude<TokenType, 'internal' | 'notebook'>
}

/** Data of a delegated token as Porthor issues it: it always expires. */
export type DelegatedTokenData = (InternalTokenData | NotebookTokenData) & { readonly expiresAt: Date }

/** Contents of a record of the token store: all that decides whether a token is valid and what it may do. */
export type TokenData = InternalTokenData | NotebookTokenData | RootTokenData

const HALF_BYTES = 16
const HALF_LENGTH = 22
const PREFIX = 'gt-'

/** Returns a new token: 128 random bits in each half, base64url without padding. */
export const generateToken = (): Token => ({
  key: randomBytes(HALF_BYTES).toString('base64url') as TokenKey,
  secret: randomBytes(HALF_BYTES).toString('base64url') as TokenSecret,
})

/** Returns the bearer string `gt-<key>.<secret>`: a secret of its holder. */
export const formatToken = ({ key, secret }: Token): string => `${PREFIX}${key}.${secret}`

/**
 * Returns the token in `gt-<key>.<secret>`, split at the first dot; `undefined` for any other text. The alphabet of the
 * halves is not checked, as in Gafaelfawr: a token with other characters is looked up, and not found.
 */
export function findToken(text: string): Token | undefined {
  const dot = text.indexOf('.')
  const key = text.slice(PREFIX.length, dot)
  const secret = text.slice(dot + 1)
  const isWellFormed =
    text.startsWith(PREFIX) && dot > 0 && key.length === HALF_LENGTH && secret.length === HALF_LENGTH
  return isWellFormed ? { key: key as TokenKey, secret: secret as TokenSecret } : undefined
}

/**
 * As `findToken`.
 *
 * @throws {UnauthenticatedError} `malformed`, for any other text.
 */
export function parseToken(text: string): Token {
  const token = findToken(text)
  if (!token) throw new UnauthenticatedError('malformed')
  return token
}

/** Whether `text` has the form of a bearer string. */
export const isBearerString = (text: string): boolean => findToken(text) !== undefined

const BEARER_STRING = /gt-[\w-]{22}\.[\w-]{22}/g

/** Returns `text` without its bearer strings: clients send them in fields that do not take tokens. */
export const redact = (text: string): string => text.replace(BEARER_STRING, 'gt-…')

/** Whether `text` contains a bearer string. If it were stored, a reader of the history could use it. */
export const holdsBearerString = (text: string): boolean => text.includes(PREFIX) && redact(text) !== text

/** Returns the text of a row or of a Redis key as a token key, without a check. */
export const unsafeTokenKey = (text: string): TokenKey => text as TokenKey

/** Returns the service of an internal token, `null` for all other types. */
export const serviceOf = (data: TokenData): string | null => (data.type === 'internal' ? data.service : null)

/** Whether the token is of a type that only delegation issues. */
export const isDelegatedType = ({ type }: TokenData): boolean => type === 'internal' || type === 'notebook'

/** Whether the token is expired. It is not valid at `expiresAt` itself. */
export const isExpired = ({ expiresAt }: Pick<TokenData, 'expiresAt'>, now: Date): boolean =>
  expiresAt !== null && expiresAt.getTime() <= now.getTime()
