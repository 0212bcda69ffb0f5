import { MAX_LISTED, PorthorError, type TokenRole } from './errors.ts'

/** Set of scopes in its only form: names sorted by code point, without duplicates. */
export type Scopes = readonly string[]

/** Descriptions of the configured scopes, by name. */
export type KnownScopes = ReadonlyMap<string, string>

/** Allows all operations on all tokens. */
export const ADMIN_SCOPE = 'admin:token'

/** Allows a user to see and change their own tokens. */
export const USER_SCOPE = 'user:token'

/** Allows a gateway to delegate on behalf of the users of other tokens. */
export const DELEGATE_SCOPE = 'delegate:token'

/** Allows a resource server to check a token and read its facts. */
export const INTROSPECT_SCOPE = 'introspect:token'

/** Scopes of the platform's own services: never delegated, whatever the configuration says. */
export const PLATFORM_SCOPES: Scopes = [DELEGATE_SCOPE, INTROSPECT_SCOPE]

/** Scopes that no delegated token holds. */
export type UndelegableScopes = ReadonlySet<string>

/** Pattern of a scope name in the configuration. */
export const SCOPE_NAME = /^[\w:.-]+$/

// Array.sort compares UTF-16 units; scope names are ASCII, where that is the order of code points.
export const toScopes = (names: readonly string[]): Scopes =>
  isCanonical(names) ? names : [...new Set(names)].sort()

/** Whether the names are sorted and distinct already, as in most requests. */
const isCanonical = (names: readonly string[]): boolean =>
  names.every((name, index) => index === 0 || (names[index - 1] ?? '') < name)

/** Parses the form of the database columns: names joined by commas, the empty string for no scopes. */
export const parseScopes = (text: string): Scopes => (text === '' ? [] : toScopes(text.split(',')))

/** Formats scopes as in the database columns. */
export const formatScopes = (scopes: Scopes): string => scopes.join(',')

/** Whether every scope of `inner` is also in `outer`. */
export const isWithin = (inner: Scopes, outer: Scopes): boolean =>
  inner.every((scope) => outer.includes(scope))

/** Whether both hold the same scopes. */
export const isSameScopes = (left: Scopes, right: Scopes): boolean =>
  left.length === right.length && left.every((scope, index) => scope === right[index])

/** Returns the scopes that may be delegated: the list itself where all may, as in most requests. */
export const withoutUndelegable = (scopes: Scopes, undelegable: UndelegableScopes): Scopes =>
  scopes.some((scope) => undelegable.has(scope)) ? scopes.filter((scope) => !undelegable.has(scope)) : scopes

/** Returns the scopes that are configured. */
export const onlyKnown = (scopes: Scopes, known: KnownScopes): Scopes =>
  scopes.filter((scope) => known.has(scope))

/** Returns the scopes that are in both. */
export const intersect = (left: Scopes, right: Scopes): Scopes =>
  left.filter((scope) => right.includes(scope))

/** @throws {PorthorError} `INVALID_SCOPES`, naming each scope that is not configured. */
export function requireKnown(scopes: Scopes, known: KnownScopes): void {
  if (scopes.every((scope) => known.has(scope))) return
  const unknownScopes = scopes.filter((scope) => !known.has(scope))
  const knownScopes = [...known.keys()].sort()
  throw new PorthorError(
    'INVALID_SCOPES',
    `Unknown scopes: ${quoteAll(unknownScopes)}. Known scopes: ${knownScopes.join(', ')}.`,
    { facts: { unknownScopes: unknownScopes.slice(0, MAX_LISTED), knownScopes } },
  )
}

/**
 * @param role Which token the message names.
 * @throws {PorthorError} `INVALID_SCOPES`, naming each scope that the token does not hold.
 */
export function requireHeld(scopes: Scopes, held: Scopes, role: TokenRole = 'current'): void {
  if (isWithin(scopes, held)) return
  const missingScopes = scopes.filter((scope) => !held.includes(scope))
  throw new PorthorError(
    'INVALID_SCOPES',
    `The ${role} token does not hold these scopes: ${quoteAll(missingScopes)}. It holds: ${held.join(', ') || 'no scopes'}.`,
    { facts: { missingScopes: missingScopes.slice(0, MAX_LISTED), heldScopes: held } },
  )
}

/** @throws {PorthorError} `INVALID_SCOPES`, naming each scope that may not be delegated. */
export function requireDelegable(scopes: Scopes, undelegable: UndelegableScopes): void {
  if (!scopes.some((scope) => undelegable.has(scope))) return
  const undelegableScopes = scopes.filter((scope) => undelegable.has(scope))
  throw new PorthorError(
    'INVALID_SCOPES',
    `These scopes are never delegated: ${quoteAll(undelegableScopes)}. Leave them out, and use a session or user token for what needs them.`,
    { facts: { undelegableScopes } },
  )
}

/** Quotes names, which may come from clients, for a message. */
export const quoteAll = (names: readonly string[]): string =>
  names.map((name) => JSON.stringify(name)).join(', ')
