import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { TokenData } from '../../../src/domain/token.ts'
import { SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { historyOf, keyOf, keysOf, lend, makeRoot, makeTree, rowsOf } from '../../support/tokens/trees.ts'

/** A Gafaelfawr deletes a token: its record first, and then its row, in a transaction that it takes time for. */
const deleteAsGafaelfawr = async (t: ReturnType<typeof usePorthor>, token: TokenData) => {
  await t.tokens.delete([keyOf(token)])
  await t.h.sql('DELETE FROM token WHERE token = $1', [keyOf(token)])
}

describe.each(['redis', 'postgres'] as const)('over %s', (store) => {
  describe('rule 22: maintenance revokes live delegated tokens without a parent', () => {
    const t = usePorthor(store, SHORT_LIVED)
    const maintain = () => t.h.context.services.maintenance.run()

    it.each([
      ['whose parent another program deleted', 'UPDATE subtoken SET parent = NULL WHERE child = $1'],
      ['without any lineage', 'DELETE FROM subtoken WHERE child = $1'],
    ])('%s, with their descendants, in both stores', async (_what, sql) => {
      const { root, child, notebook, grandchild } = await makeTree(t.h, { endsIn: 3_600 })
      await t.h.sql(sql, [keyOf(child)])
      expect(await maintain()).toMatchObject({ orphaned: 2 })

      const all = [root, child, notebook, grandchild]
      expect(Object.keys(await rowsOf(t.h, all)).sort()).toEqual(keysOf([root, notebook]).sort())
      const stored = await Promise.all(all.map((token) => t.tokens.find(keyOf(token))))
      expect(stored.map(Boolean)).toEqual([true, false, true, false])
      const common = { action: 'revoke', actor: '<internal>', ip_address: null }
      expect(await historyOf(t.h, [child, grandchild], 'revoke')).toMatchObject([
        { ...common, token: keyOf(grandchild) },
        { ...common, token: keyOf(child) },
      ])
      expect(await maintain()).toMatchObject({ orphaned: 0 })
    })

    it('but not roots, children of live parents, and expired tokens', async () => {
      const { root, child, notebook, grandchild } = await makeTree(t.h, { endsIn: 3_600 })
      await t.h.sql('UPDATE subtoken SET parent = NULL WHERE child = $1', [keyOf(grandchild)])
      await t.h.sql('UPDATE token SET expires = $2 WHERE token = $1', [keyOf(grandchild), t.clock.now()])
      expect(await maintain()).toMatchObject({ orphaned: 0 })
      expect(Object.keys(await rowsOf(t.h, [root, child, notebook]))).toHaveLength(3)
    })

    it('however many there are', async () => {
      const root = await makeRoot(t.h)
      const child = await lend(t.h, root, 'tap')
      await t.h.sql(
        `INSERT INTO token (token, username, token_type, scopes, created, expires)
         SELECT 'orphan-' || i, 'wren', 'notebook', '', $1, $1::timestamp + interval '1 hour' FROM generate_series(1, 1200) AS i`,
        [t.clock.now()],
      )
      await t.h.sql(`INSERT INTO subtoken SELECT 'orphan-' || i, NULL FROM generate_series(1, 600) AS i`)
      expect(await maintain()).toMatchObject({ orphaned: 1_200 })
      expect(await rowsOf(t.h, [child])).toHaveProperty(keyOf(child))
    })
  })
})

describe('rule 22: children of a token that another program deletes are revoked a second later', () => {
  const t = usePorthor('redis', { ...SHORT_LIVED, CLIENT_SIDE_CACHE: 'true', MAX_CHILDREN: '100000' })

  it('also those that this process and another one issue meanwhile, and no other token', async () => {
    const other = t.anotherProcess()
    const [root, bystander] = [await t.parent(), await t.parent()]
    const kept = await lend(t.h, bystander, 'tap')
    let isOver = false
    onTestFinished(() => {
      isOver = true
    })
    let refused = 0
    const delegating = [t.cache, other].flatMap((cache, process) =>
      Array.from({ length: 4 }, async (_, loop) => {
        for (let index = 0; !isOver; index += 1) {
          await cache.getInternalToken(root, `s-${process}-${loop}-${index}`, [], null).catch(() => {
            refused += 1
            isOver = refused >= 16
          })
        }
      }),
    )
    await vi.waitFor(async () => expect((await t.children(root)).length).toBeGreaterThan(20), {
      timeout: 20_000,
    })
    await deleteAsGafaelfawr(t, root)
    await Promise.all(delegating)

    await vi.waitFor(
      async () => {
        const live = await t.h.sql(`SELECT FROM token WHERE service LIKE 's-%' AND username = $1`, [
          root.username,
        ])
        expect(live).toHaveLength(0)
      },
      { timeout: 20_000, interval: 100 },
    )
    const issued = await t.h.sql<{ token: TokenData['token']['key'] }>(
      `SELECT token FROM token_change_history WHERE parent = $1 AND action = 'create'`,
      [keyOf(root)],
    )
    const stored = await Promise.all(issued.map(({ token }) => t.tokens.find(token)))
    expect(stored.filter(Boolean)).toEqual([])
    expect(await t.tokens.find(keyOf(kept))).toEqual(kept)
  })
})
