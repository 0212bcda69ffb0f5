import { PorthorError } from './errors.ts'

/** Scope names, sorted by code point and without duplicates: the one form in which sets of scopes are kept. */
export type Scopes = readonly string[]

/** Known scopes and what each allows. */
export type KnownScopes = ReadonlyMap<string, string>

/** Lets its holder do everything to every token. */
export const ADMIN_SCOPE = 'admin:token'

/** Lets a user see and change their own tokens. */
export const USER_SCOPE = 'user:token'

/** Lets a gateway delegate for the users of other tokens. */
export const DELEGATE_SCOPE = 'delegate:token'

/** Lets a resource server see whether a token is valid, and what it holds. */
export const INTROSPECT_SCOPE = 'introspect:token'

/** They make the holder a part of the platform, whom no user may appoint: never delegated, whatever is configured. */
export const PLATFORM_SCOPES: Scopes = [DELEGATE_SCOPE, INTROSPECT_SCOPE]

/** Scopes that no delegated token carries. */
export type UndelegableScopes = ReadonlySet<string>

/** What a scope may be called in the configuration. */
export const SCOPE_NAME = /^[\w:.-]+$/

// Array.sort compares UTF-16 units; scope names are ASCII, where that is the order of code points.
export const toScopes = (names: readonly string[]): Scopes =>
  isCanonical(names) ? names : [...new Set(names)].sort()

/** Whether there is nothing to sort or drop, as where a client has a constant list. */
const isCanonical = (names: readonly string[]): boolean =>
  names.every((name, index) => index === 0 || (names[index - 1] ?? '') < name)

/** Reads the form of the database columns: names joined by a comma, the empty string for none. */
export const parseScopes = (text: string): Scopes => (text === '' ? [] : toScopes(text.split(',')))

/** Writes the form of the database columns. */
export const formatScopes = (scopes: Scopes): string => scopes.join(',')

/** Whether every scope of `inner` is also in `outer`. The empty set is inside any set. */
export const isWithin = (inner: Scopes, outer: Scopes): boolean =>
  inner.every((scope) => outer.includes(scope))

/** Whether both hold the same scopes. */
export const isSameScopes = (left: Scopes, right: Scopes): boolean =>
  left.length === right.length && left.every((scope, index) => scope === right[index])

/** What a parent can pass on. The list itself where that is all of it, as on most requests. */
export const withoutUndelegable = (scopes: Scopes, undelegable: UndelegableScopes): Scopes =>
  scopes.some((scope) => undelegable.has(scope)) ? scopes.filter((scope) => !undelegable.has(scope)) : scopes

/** The scopes that are in both. */
export const intersect = (left: Scopes, right: Scopes): Scopes =>
  left.filter((scope) => right.includes(scope))

/** @throws {PorthorError} `INVALID_SCOPES`, naming each scope that the configuration does not know. */
export function requireKnown(scopes: Scopes, known: KnownScopes): void {
  if (scopes.every((scope) => known.has(scope))) return
  const unknown = scopes.filter((scope) => !known.has(scope))
  throw new PorthorError(
    'INVALID_SCOPES',
    `Unknown scopes: ${quoteAll(unknown)}. Known are: ${[...known.keys()].sort().join(', ')}.`,
  )
}

/** @throws {PorthorError} `INVALID_SCOPES`, naming each scope that the acting token does not hold. */
export function requireHeld(scopes: Scopes, held: Scopes): void {
  if (isWithin(scopes, held)) return
  const missing = scopes.filter((scope) => !held.includes(scope))
  throw new PorthorError(
    'INVALID_SCOPES',
    `The acting token does not hold: ${quoteAll(missing)}. It can hand on: ${held.join(', ') || 'none'}.`,
  )
}

/** @throws {PorthorError} `INVALID_SCOPES`, naming each scope that no delegated token carries. */
export function requireDelegable(scopes: Scopes, undelegable: UndelegableScopes): void {
  if (!scopes.some((scope) => undelegable.has(scope))) return
  const refused = scopes.filter((scope) => undelegable.has(scope))
  throw new PorthorError(
    'INVALID_SCOPES',
    `Never delegated: ${quoteAll(refused)}. Leave them out; what needs them is done with a token of the user's own.`,
  )
}

const quoteAll = (names: readonly string[]): string => names.map((name) => JSON.stringify(name)).join(', ')
