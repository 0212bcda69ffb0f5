import type { TokenKey } from '../../domain/token.ts'
import { slicesOf } from '../../lib/slices.ts'
import type { LockedToken, TreeTransaction } from '../../stores/database/tree-transaction.ts'

/** Rows that one statement locks, or whose children it counts. */
const ROW_BATCH_SIZE = 5_000

/** The known part of some trees. A token has one parent, so one link leads to it. */
interface Trees {
  readonly tokens: Map<TokenKey, LockedToken>
  readonly parents: Map<TokenKey, TokenKey>
}

/**
 * Locks whole trees, of any depth and width, also if a lineage is circular. They are listed and locked until every child of
 * a held token is held: a transaction that creates a child holds the parent until its commit, so that a held token gets no
 * new child.
 *
 * @param roots Tokens that are held already.
 * @returns The levels, the roots first. A root that is a descendant of another root is in the deeper level.
 */
export async function lockTrees(
  tx: TreeTransaction,
  roots: readonly LockedToken[],
): Promise<readonly (readonly LockedToken[])[]> {
  const trees: Trees = { tokens: new Map(roots.map((root) => [root.key, root])), parents: new Map() }
  if (roots.length === 0) return []
  do await lockBelow(tx, trees, roots)
  while (!(await isWhole(tx, trees)))
  return levelsOf(trees, roots)
}

async function lockBelow(tx: TreeTransaction, trees: Trees, roots: readonly LockedToken[]): Promise<void> {
  const { tokens, parents } = trees
  for await (const links of tx.listBelow(roots.map(({ key }) => key))) {
    const found = links.map(({ child }) => child).filter((child) => !tokens.has(child))
    for (const slice of slicesOf(found, ROW_BATCH_SIZE)) {
      for (const token of await tx.lockAll(slice)) tokens.set(token.key, token)
    }
    // Tokens that have been revoked meanwhile cannot be locked, and are no longer part of the tree.
    for (const { child, parent } of links) if (tokens.has(child)) parents.set(child, parent)
  }
}

/** Whether all children of the held tokens are found. */
async function isWhole(tx: TreeTransaction, { tokens, parents }: Trees): Promise<boolean> {
  let count = 0
  for (const slice of slicesOf([...tokens.keys()], ROW_BATCH_SIZE)) count += await tx.countChildren(slice)
  return count === parents.size
}

function levelsOf({ tokens, parents }: Trees, roots: readonly LockedToken[]): LockedToken[][] {
  const children = new Map<TokenKey, TokenKey[]>()
  for (const [child, parent] of parents) {
    const siblings = children.get(parent)
    if (siblings) siblings.push(child)
    else children.set(parent, [child])
  }
  const levels: LockedToken[][] = []
  const placed = new Set<TokenKey>()
  const place = (top: TokenKey) => {
    let level = [top]
    for (let depth = 0; level.length > 0; depth += 1) {
      const below: TokenKey[] = []
      for (const key of level) {
        const token = tokens.get(key)
        if (!token || placed.has(key)) continue
        placed.add(key)
        const peers = levels[depth]
        if (peers) peers.push(token)
        else levels[depth] = [token]
        below.push(...(children.get(key) ?? []))
      }
      level = below
    }
  }
  const isTop = ({ key }: LockedToken) => !tokens.has(parents.get(key) ?? key) || !parents.has(key)
  for (const root of roots.filter(isTop)) place(root.key)
  // What is left is circular: its only top is the named root.
  for (const root of roots) place(root.key)
  return levels
}
