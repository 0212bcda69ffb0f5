import type pg from 'pg'
import { formatScopes } from '../../../src/domain/scope.ts'
import { generateToken, serviceOf, type TokenData } from '../../../src/domain/token.ts'
import type { TokenStore } from '../../../src/stores/token-store/token-store.ts'

/** Size of each level below the root of a tree of 10,000 tokens. */
export const FOUR_LEVELS = [9, 990, 9_000]

/** The same number of tokens, all children of one. */
export const ONE_LEVEL = [9_999]

/** Store entries written at a time. */
const ENTRIES_AT_ONCE = 500

export interface Stores {
  readonly query: (text: string, values: unknown[]) => Promise<unknown>
  readonly tokens: Pick<TokenStore, 'put'>
}

/**
 * Lends token upon token below `root`, straight into both stores: many at once, and without a history.
 *
 * @param root With rows and entry already there.
 * @returns The root and all below it, level by level.
 */
export async function growTree(
  { query, tokens }: Stores,
  root: TokenData,
  levels: readonly number[],
): Promise<TokenData[]> {
  const all = [root]
  const lineage: { child: string; parent: string }[] = []
  let parents = [root]
  for (const size of levels) {
    const level = Array.from({ length: size }, (_, index): TokenData => {
      const service = `service-${index}`
      const child: TokenData = { ...root, token: generateToken(), type: 'internal', service }
      lineage.push({ child: child.token.key, parent: parents[index % parents.length]?.token.key ?? '' })
      return child
    })
    all.push(...level)
    parents = level
  }
  const made = all.slice(1)
  await query('INSERT INTO token SELECT * FROM json_populate_recordset(NULL::token, $1)', [
    JSON.stringify(made.map(rowOf)),
  ])
  await query('INSERT INTO subtoken SELECT * FROM json_populate_recordset(NULL::subtoken, $1)', [
    JSON.stringify(lineage),
  ])
  for (let start = 0; start < made.length; start += ENTRIES_AT_ONCE) {
    await Promise.all(made.slice(start, start + ENTRIES_AT_ONCE).map((data) => tokens.put(data)))
  }
  return all
}

const rowOf = (data: TokenData) => ({
  token: data.token.key,
  username: data.username,
  token_type: data.type,
  service: serviceOf(data),
  scopes: formatScopes(data.scopes),
  created: data.createdAt,
  expires: data.expiresAt,
})

/** For `growTree`: a connection or a pool. */
export const queryOf =
  (db: Pick<pg.ClientBase, 'query'>): Stores['query'] =>
  (text, values) =>
    db.query(text, values)
