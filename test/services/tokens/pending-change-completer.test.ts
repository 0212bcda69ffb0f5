import { describe, expect, it, onTestFinished } from 'vitest'
import type { TokenData } from '../../../src/domain/token.ts'
import { failure } from '../../support/checks/failures.ts'
import { SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { keyOf, makeRoot, makeTree, refuseCommits, rowsOf } from '../../support/tokens/trees.ts'

describe.each(['redis', 'postgres'] as const)(
  'the completion of pending changes, with the token store in %s:',
  (store) => {
    const t = usePorthor(store, SHORT_LIVED)
    const pendingChanges = () => t.h.context.services.pendingChanges

    /** Decides a change, as a server does that is killed right after it. */
    const decide = async (token: TokenData, action: 'revoke' | 'edit', actor: string) => {
      await t.h.sql(
        `INSERT INTO porthor_pending_change (token, action, actor, has_scopes, has_expires)
       VALUES ($1, $2::tokenchange, $3, $4, false)`,
        [keyOf(token), action, actor, action === 'edit'],
      )
    }
    const pending = async () =>
      (await t.h.sql<{ token: string }>('SELECT token FROM porthor_pending_change')).map(({ token }) => token)

    it.each([
      ['another actor', 'alice', 'bob'],
      ['the same actor', 'alice', 'alice'],
    ])(
      'a revocation that cannot be completed prevents no younger change of %s, and its record is deleted',
      async (_whose, first, second) => {
        const [stuck, younger] = [await makeTree(t.h), await makeTree(t.h)]
        const edited = await makeRoot(t.h, { scopes: ['read:all', 'read:tap'] })
        const { allow } = await refuseCommits(t.h, 'DELETE', stuck.root.username)
        onTestFinished(allow)
        await decide(stuck.root, 'revoke', first)
        await t.h.sql("UPDATE token SET scopes = 'read:tap' WHERE token = $1", [keyOf(edited)])
        await decide(edited, 'edit', second)
        await decide(younger.root, 'revoke', second)

        await expect(pendingChanges().completeAll(0)).rejects.toThrow(failure('UNAVAILABLE'))
        expect(await rowsOf(t.h, Object.values(younger))).toEqual({})
        expect((await t.tokens.find(keyOf(edited)))?.scopes).toEqual(['read:tap'])
        expect(await t.tokens.find(keyOf(stuck.root))).toBe(undefined)
        expect(await pending()).toEqual([keyOf(stuck.root)])

        await allow()
        expect(await pendingChanges().completeAll(0)).toBe(1)
        expect(await rowsOf(t.h, Object.values(stuck))).toEqual({})
        expect(await pending()).toEqual([])
      },
    )

    it('the records of all revoked tokens are deleted before the completion waits for any tree', async () => {
      const [first, second] = [await makeTree(t.h), await makeTree(t.h)]
      const holding = await t.connect()
      await holding.query('BEGIN')
      await holding.query('SELECT FROM token WHERE token = $1 FOR UPDATE', [keyOf(first.child)])
      await decide(first.root, 'revoke', 'alice')
      await decide(second.root, 'revoke', 'bob')
      const completed = pendingChanges().completeAll(0)
      await t.waiting(1)
      for (const { root } of [first, second]) expect(await t.tokens.find(keyOf(root))).toBe(undefined)
      await holding.query('COMMIT')
      expect(await completed).toBe(2)
    })
  },
)
