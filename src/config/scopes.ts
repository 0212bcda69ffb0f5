import { z } from 'zod'
import {
  ADMIN_SCOPE,
  DELEGATE_SCOPE,
  INTROSPECT_SCOPE,
  type KnownScopes,
  SCOPE_NAME,
  USER_SCOPE,
} from '../domain/scope.ts'
import { type Kind, parsed, splitList } from './kinds.ts'

export const DEFAULT_SCOPES = {
  [ADMIN_SCOPE]: 'See, create, change and revoke the tokens of every user',
  [USER_SCOPE]: "See, create and revoke one's own tokens",
  [DELEGATE_SCOPE]: 'Delegate on behalf of the users of other tokens, as a gateway',
  [INTROSPECT_SCOPE]: 'See whether a token is valid and what it holds, as a resource server',
  'exec:notebook': 'Run notebooks',
  'read:all': 'Read all data',
  'read:tap': 'Query the catalogues',
}

export const DEFAULT_UNDELEGABLE = [ADMIN_SCOPE]

const scopeTable = z.record(z.string().regex(SCOPE_NAME), z.string())

/** A JSON object that maps scope names to descriptions. */
export const scopeDescriptions = (): Kind<KnownScopes> =>
  parsed('JSON object of scope names and descriptions', (json) => {
    let table: unknown
    try {
      table = JSON.parse(json)
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
  })

const invalidTable = (reason: string): Error =>
  new Error(
    `must be a JSON object that maps scope names (letters, digits, : . _ -) to descriptions, with ${ADMIN_SCOPE} and ${USER_SCOPE}: ${reason}`,
  )

/** A list of scopes; `none` alone stands for an empty list, and a list without scopes for the default. */
export const undelegableScopes = (): Kind<readonly string[]> =>
  parsed('list of scopes, or `none`', (text) => {
    const names = splitList(text)
    if (names.length === 0) return DEFAULT_UNDELEGABLE
    return names.length === 1 && names[0] === 'none' ? [] : names
  })

/** Returns what is wrong with `UNDELEGABLE_SCOPES`. With a misspelt name, the scope that was meant could be delegated. */
export function findUnknownScope(names: readonly string[], known: KnownScopes): string | undefined {
  const place = names.findIndex((name) => !known.has(name))
  if (place < 0) return undefined
  return `must be scopes of KNOWN_SCOPES, separated by commas, or none: entry ${place + 1} is not a known scope`
}
