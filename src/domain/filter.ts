import { notFound, PorthorError } from './errors.ts'
import type { AddressFilter } from './ip-address.ts'
import { holdsBearerString, type TokenKey, type TokenType, unsafeTokenKey } from './token.ts'

type Optional<T> = { readonly [K in keyof T]?: T[K] | undefined }

/** Criteria of a list of tokens; all given ones must match. */
export type TokenFilter = Optional<{
  username: string
  type: TokenType
}>

/** Criteria of tokens to revoke with their descendants; all given ones must match. */
export type RevocationFilter = Optional<{
  username: string
  service: string
  type: TokenType
  /** Matches the descendants of this token, not the token itself. */
  ancestor: string
  createdBefore: Date
}>

/** Criteria of a list of history events; all given ones must match. */
export type ChangeFilter = Optional<{
  username: string
  actor: string
  /** Matches events of this token and of its children. */
  key: string
  /** Matches events of this token only. */
  token: string
  type: TokenType
  /** Both inclusive. */
  since: Date
  until: Date
  ipAddress: AddressFilter
}>

const KEY_ADVICE = 'The key of a token is the 22 characters between gt- and the dot.'

/** Bounds of the times that ISO 8601 and PostgreSQL write alike: years 1 to 9999. */
const EARLIEST = new Date('0001-01-01T00:00:00Z')
const LATEST = new Date('9999-12-31T23:59:59.999Z')

/**
 * @throws {PorthorError} `INVALID_FILTER` for what PostgreSQL cannot compare: a text with a NUL, or a time out of
 *   bounds; and for a bearer string, which matches nothing, as if the token did not exist.
 */
export function requireSearchable(filter: TokenFilter | RevocationFilter | ChangeFilter): void {
  for (const [field, value] of Object.entries(filter)) {
    if (typeof value === 'string' && value.includes('\0')) {
      throw new PorthorError('INVALID_FILTER', `${field} must not contain a NUL character.`)
    }
    if (typeof value === 'string' && holdsBearerString(value)) {
      throw new PorthorError('INVALID_FILTER', `${field} must not contain a whole token. ${KEY_ADVICE}`)
    }
    if (value instanceof Date && !(value >= EARLIEST && value <= LATEST)) {
      const [minimum, maximum] = [EARLIEST.toISOString(), LATEST.toISOString()]
      throw new PorthorError('INVALID_FILTER', `${field} must be a time from ${minimum} to ${maximum}.`, {
        facts: { minimum, maximum },
      })
    }
  }
}

/**
 * Returns the text of a client as a token key. The form is not checked further: a text that is no key is not found.
 *
 * @throws {PorthorError} `NOT_FOUND` for a text with a NUL, which no token key has, and for a bearer string.
 */
export function parseTokenKey(text: string): TokenKey {
  if (text.includes('\0')) throw notFound(text)
  if (holdsBearerString(text)) throw new PorthorError('NOT_FOUND', KEY_ADVICE)
  return unsafeTokenKey(text)
}

/** @throws {PorthorError} `INVALID_FILTER` when no criterion is given: every token would match. */
export function requireCriterion(filter: RevocationFilter): void {
  if (Object.values(filter).some((value) => value !== undefined)) return
  throw new PorthorError(
    'INVALID_FILTER',
    'Give at least one of username, service, type, ancestor and createdBefore: with none, every token would match.',
  )
}
