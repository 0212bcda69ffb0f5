import { notFound, PorthorError } from './errors.ts'
import type { AddressFilter } from './ip-address.ts'
import { holdsBearerString, type TokenKey, type TokenType } from './token.ts'

type Optional<T> = { readonly [K in keyof T]?: T[K] | undefined }

/** Which tokens a list holds. All that is given must match. */
export type TokenFilter = Optional<{
  username: string
  type: TokenType
}>

/** Which tokens are to be revoked, with their descendants. All that is given must match. */
export type RevocationFilter = Optional<{
  username: string
  service: string
  type: TokenType
  /** The tokens below this one; itself it is not matched. */
  ancestor: TokenKey
  createdBefore: Date
}>

/** Which history entries a list holds. All that is given must match. */
export type ChangeFilter = Optional<{
  username: string
  actor: string
  /** Entries of this token and of its children. */
  key: TokenKey
  /** Entries of this token alone. */
  token: TokenKey
  type: TokenType
  /** Both inclusive. */
  since: Date
  until: Date
  ipAddress: AddressFilter
}>

const KEY_ADVICE = 'A key is the 22 characters between gt- and the dot of a token.'

/** Times that PostgreSQL reads as they are written here: of years 1 to 9999. */
const EARLIEST = new Date('0001-01-01T00:00:00Z')
const LATEST = new Date('9999-12-31T23:59:59.999Z')

/**
 * @throws {PorthorError} `INVALID_FILTER` for what PostgreSQL cannot look for: text with a NUL in it, or a
 *   time beyond its calendar; and for a bearer string, which would find nothing, as if nothing were left.
 */
export function requireSearchable(filter: TokenFilter | RevocationFilter | ChangeFilter): void {
  for (const value of Object.values(filter)) {
    if (typeof value === 'string' && value.includes('\0')) {
      throw new PorthorError('INVALID_FILTER', 'What is searched for cannot have a NUL in it.')
    }
    if (typeof value === 'string' && holdsBearerString(value)) {
      throw new PorthorError('INVALID_FILTER', `What is searched for cannot be a whole token. ${KEY_ADVICE}`)
    }
    if (value instanceof Date && !(value >= EARLIEST && value <= LATEST)) {
      throw new PorthorError('INVALID_FILTER', 'Times to search by must be of years 1 to 9999, in UTC.')
    }
  }
}

/** @throws {PorthorError} `NOT_FOUND` for a key with a NUL in it, which no token has, or a bearer string. */
export function requireFindable(key: string): void {
  if (key.includes('\0')) throw notFound(key)
  if (holdsBearerString(key)) throw new PorthorError('NOT_FOUND', KEY_ADVICE)
}

/** @throws {PorthorError} `INVALID_FILTER` when nothing is given: that would be every token there is. */
export function requireCriterion(filter: RevocationFilter): void {
  if (Object.values(filter).some((value) => value !== undefined)) return
  throw new PorthorError(
    'INVALID_FILTER',
    'Give at least one of username, service, type, ancestor and createdBefore: with none, every token would match.',
  )
}
