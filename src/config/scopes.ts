import { z } from 'zod'
import {
  ADMIN_SCOPE,
  DELEGATE_SCOPE,
  INTROSPECT_SCOPE,
  type KnownScopes,
  PLATFORM_SCOPES,
  SCOPE_NAME,
  type UndelegableScopes,
  USER_SCOPE,
} from '../domain/scope.ts'

const DEFAULT_SCOPES = {
  [ADMIN_SCOPE]: 'See, create, change and revoke the tokens of every user',
  [USER_SCOPE]: "See, create and revoke one's own tokens",
  [DELEGATE_SCOPE]: 'Delegate on behalf of the users of other tokens, as a gateway',
  [INTROSPECT_SCOPE]: 'See whether a token is valid and what it holds, as a resource server',
  'exec:notebook': 'Run notebooks',
  'read:all': 'Read all data',
  'read:tap': 'Query the catalogues',
}

const scopeTable = z.record(z.string().regex(SCOPE_NAME), z.string())

/**
 * Parses the known scopes.
 *
 * @param json A JSON object that maps scope names to descriptions. Without it, the default scopes are known.
 * @throws {Error} Its message continues a sentence that begins with the setting's name.
 */
export function parseKnownScopes(json: string | undefined): KnownScopes {
  let table: unknown = DEFAULT_SCOPES
  try {
    if (json) table = JSON.parse(json)
  } catch {
    throw invalidTable('it is not JSON')
  }
  const { data, error } = scopeTable.safeParse(table)
  if (error) {
    const place = Object.keys(table ?? {}).indexOf(String(error.issues[0]?.path[0]))
    throw invalidTable(place < 0 ? 'it is not an object' : `entry ${place + 1} is not valid`)
  }
  const missing = [ADMIN_SCOPE, USER_SCOPE].filter((scope) => !(scope in data))
  if (missing.length > 0) throw invalidTable(`${missing.join(' and ')} is missing`)
  return new Map(Object.entries(data))
}

const invalidTable = (reason: string): Error =>
  new Error(
    `must be a JSON object that maps scope names (letters, digits, : . _ -) to descriptions, with ${ADMIN_SCOPE} and ${USER_SCOPE}: ${reason}`,
  )

/**
 * Parses the scopes that are never delegated. By default that is `admin:token`; the scopes of the platform are always
 * added.
 *
 * @param names The items of the list; `none` alone stands for an empty list.
 * @param known Empty where the known scopes are not valid; the names are then not compared with them.
 * @throws {Error} As `parseKnownScopes`.
 */
export function parseUndelegableScopes(names: readonly string[], known: KnownScopes): UndelegableScopes {
  if (names.length === 0) return new Set([ADMIN_SCOPE, ...PLATFORM_SCOPES])
  if (names.length === 1 && names[0] === 'none') return new Set(PLATFORM_SCOPES)
  // With a misspelt name, the scope that was meant could be delegated.
  const place = known.size === 0 ? -1 : names.findIndex((name) => !known.has(name))
  if (place < 0) return new Set([...names, ...PLATFORM_SCOPES])
  throw new Error(
    `must be scopes of KNOWN_SCOPES, separated by commas, or none: entry ${place + 1} is not a known scope`,
  )
}
