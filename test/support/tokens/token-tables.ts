import { expect } from 'vitest'
import type { Porthor } from '../porthor/porthor.ts'

type Sql = Porthor['sql']

/** A row of the token table and its lineage. Times are text, `2026-01-01 00:00:00`, which sorts as they do. */
export interface TokenState {
  readonly username: string
  readonly type: string
  readonly name: string | null
  readonly service: string | null
  readonly scopes: string
  readonly expires: string | null
  readonly parent: string | null
}

/** A row of the history. */
export interface HistoryEntry extends TokenState {
  readonly token: string
  readonly action: 'create' | 'edit' | 'revoke' | 'expire'
  readonly oldName: string | null
  readonly oldScopes: string | null
  readonly oldExpires: string | null
  readonly time: string
}

export type TokenStates = ReadonlyMap<string, TokenState>

const FACTS = 'username, token_type::text AS type, token_name AS name, service, scopes, expires::text, parent'

/** The token table as it is. */
export async function readTokens(sql: Sql): Promise<TokenStates> {
  const rows = await sql<TokenState & { token: string }>(
    `SELECT token, ${FACTS} FROM token LEFT JOIN subtoken ON child = token`,
  )
  return new Map(rows.map(({ token, ...state }) => [token, state]))
}

/** All of the history, in the order in which it was written. */
export const readHistory = (sql: Sql): Promise<HistoryEntry[]> =>
  sql<HistoryEntry>(
    `SELECT token, ${FACTS}, action::text, old_token_name AS "oldName", old_scopes AS "oldScopes",
            old_expires::text AS "oldExpires", event_time::text AS time
     FROM token_change_history ORDER BY id`,
  )

/**
 * What the history makes of an empty table. Each entry must fit the state that the entries before it
 * have led to.
 *
 * @param onCreate Is shown the state before each token that is made.
 */
export function replay(
  history: readonly HistoryEntry[],
  onCreate: (states: TokenStates, entry: HistoryEntry) => void = () => undefined,
): TokenStates {
  const states = new Map<string, TokenState>()
  const lenders = new Map<string, string | null>()
  for (const entry of history) {
    const { token, username, type, name, service, scopes, expires, parent } = entry
    const now = { username, type, name, service, scopes, expires, parent }
    const before = states.get(token)
    if (entry.action === 'create') {
      expect(before, `${token} is made once`).toBeUndefined()
      expect(parent === null || states.has(parent), `the parent of ${token} is there`).toBe(true)
      onCreate(states, entry)
      states.set(token, now)
      lenders.set(token, parent)
      continue
    }
    if (!before) throw new Error(`${entry.action} of ${token}, which is not there`)
    if (entry.action === 'edit') {
      expect(now).toEqual({ ...before, name, scopes, expires })
      expect(entry.oldName ?? before.name).toBe(before.name)
      expect(entry.oldScopes ?? before.scopes).toBe(before.scopes)
      expect(entry.oldExpires ?? before.expires).toBe(before.expires)
      states.set(token, now)
      continue
    }
    // Where both go at once, the entry of the parent may be the first of the two.
    expect(now).toEqual({ ...before, parent: parent === null ? before.parent : lenders.get(token) })
    if (entry.action === 'expire') expect(expires !== null && expires <= entry.time).toBe(true)
    states.delete(token)
    // As the foreign key does.
    for (const [child, state] of states) {
      if (state.parent === token) states.set(child, { ...state, parent: null })
    }
  }
  return states
}

/** A token that the token store takes for valid. */
export interface ValidToken {
  readonly key: string
  readonly scopes: readonly string[]
  readonly expiresAt: Date | null
}

/**
 * Every valid token has a valid parent where it has one, and no more scopes or life than it.
 *
 * @param valid Those with a row.
 */
export function expectWithinParents(valid: readonly ValidToken[], states: TokenStates): void {
  const byKey = new Map(valid.map((token) => [token.key, token]))
  for (const { key, scopes, expiresAt } of valid) {
    const state = states.get(key)
    if (!state) continue
    if (state.type === 'internal' || state.type === 'notebook') {
      expect(state.parent, `${key} is no orphan`).not.toBeNull()
    }
    if (state.parent === null) continue
    const parent = byKey.get(state.parent)
    if (!parent) throw new Error(`${key} is valid, and its parent ${state.parent} is not`)
    expect(parent.scopes, `scopes of the parent of ${key}`).toEqual(expect.arrayContaining([...scopes]))
    const end = parent.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY
    expect(expiresAt?.getTime() ?? Number.POSITIVE_INFINITY, `end of ${key}`).toBeLessThanOrEqual(end)
  }
}

/** Children of the same shape as `entry` that live at least until `earliestEnd`: none may have been made beside them. */
export const livingTwins = (states: TokenStates, entry: HistoryEntry, earliestEnd: string): string[] =>
  [...states]
    .filter(
      ([, state]) =>
        state.parent === entry.parent &&
        state.type === entry.type &&
        state.service === entry.service &&
        state.scopes === entry.scopes &&
        state.expires !== null &&
        state.expires >= earliestEnd,
    )
    .map(([key]) => key)
