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
} from './domain/scope.ts'

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
 * Reads the scopes that are known here.
 *
 * @param json A JSON object of scope names and their descriptions; the default scopes where there is none.
 * @throws {Error} What must be, and what is wrong, for a sentence that begins with the setting's name.
 */
export function parseKnownScopes(json: string | undefined): KnownScopes {
  let table: unknown = DEFAULT_SCOPES
  try {
    if (json) table = JSON.parse(json)
  } catch {
    throw notATable('it is no JSON')
  }
  const { data, error } = scopeTable.safeParse(table)
  if (error) {
    const place = Object.keys(table ?? {}).indexOf(String(error.issues[0]?.path[0]))
    throw notATable(place < 0 ? 'it is no object' : `entry ${place + 1} is none`)
  }
  const missing = [ADMIN_SCOPE, USER_SCOPE].filter((scope) => !(scope in data))
  if (missing.length > 0) throw notATable(`${missing.join(' and ')} is missing`)
  return new Map(Object.entries(data))
}

const notATable = (reason: string): Error =>
  new Error(
    `must be a JSON object of scope names (letters, digits, : . _ -) and their descriptions, with ${ADMIN_SCOPE} and ${USER_SCOPE} among them: ${reason}`,
  )

/**
 * Reads which scopes are never delegated: `admin:token` where nothing is said, and those of the platform always.
 *
 * @param names The entries of the list; `none` alone for no scope but those of the platform.
 * @param known Empty where the known scopes could not be read.
 * @throws {Error} As `parseKnownScopes`.
 */
export function parseUndelegableScopes(names: readonly string[], known: KnownScopes): UndelegableScopes {
  if (names.length === 0) return new Set([ADMIN_SCOPE, ...PLATFORM_SCOPES])
  if (names.length === 1 && names[0] === 'none') return new Set(PLATFORM_SCOPES)
  // A misspelt name would let the scope be delegated that was meant.
  const place = known.size === 0 ? -1 : names.findIndex((name) => !known.has(name))
  if (place < 0) return new Set([...names, ...PLATFORM_SCOPES])
  throw new Error(
    `must be scopes of KNOWN_SCOPES, separated by commas, or none: entry ${place + 1} is not known`,
  )
}
