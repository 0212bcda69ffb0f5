import type { TokenKey } from '../domain/token.ts'
import type { LockedToken, TreeTransaction } from '../stores/tree-transaction.ts'

/**
 * Takes whole trees, level by level: a level is locked before the next one is listed, so that no child
 * can appear below a token once it is held.
 *
 * @param roots Tokens that are held already.
 * @returns The levels, the roots first. A root that stands below another one is in the deeper level.
 */
export async function lockTrees(
  tx: TreeTransaction,
  roots: readonly LockedToken[],
): Promise<readonly (readonly LockedToken[])[]> {
  const levelOf = new Map<TokenKey, { readonly token: LockedToken; readonly depth: number }>()
  let level: readonly LockedToken[] = roots
  for (let depth = 0; level.length > 0; depth += 1) {
    for (const token of level) levelOf.set(token.key, { token, depth })
    level = await tx.lockChildren(level.map((token) => token.key))
  }
  const levels: LockedToken[][] = []
  for (const { token, depth } of levelOf.values()) {
    const peers = levels[depth] ?? []
    peers.push(token)
    levels[depth] = peers
  }
  return levels.map((peers) => peers ?? [])
}
