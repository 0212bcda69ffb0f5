import { describe, expect, it } from 'vitest'
import { generateToken, type TokenKey } from '../../../src/domain/token.ts'
import { IP, SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { aUsername, keyOf, makeRoot, statementsOf } from '../../support/tokens/trees.ts'

const OPERATOR = { actor: { kind: 'operator' }, ipAddress: IP } as const

describe('a tree of extreme depth', { timeout: 120_000 }, () => {
  const t = usePorthor('redis', SHORT_LIVED)
  const revocation = () => t.h.context.services.revocation

  /** A root and `count` tokens below it, of which `parentOf` tells the number of the parent; the root has number 0. */
  const grow = async (count: number, parentOf: (n: number) => number) => {
    const root = await makeRoot(t.h, { username: aUsername() })
    const keys = [keyOf(root), ...Array.from({ length: count }, () => generateToken().key)]
    const below = keys.slice(1)
    await t.h.sql(
      `INSERT INTO token (token, username, token_type, scopes, service, created, expires)
       SELECT key, $2, 'internal', 'read:all', 'tap', now(), now() + interval '1 day' FROM unnest($1::text[]) AS key`,
      [below, root.username],
    )
    await t.h.sql('INSERT INTO subtoken (child, parent) SELECT * FROM unnest($1::text[], $2::text[])', [
      below,
      below.map((_key, index) => keys[parentOf(index + 1)]),
    ])
    // As autovacuum does where tables grow.
    await t.h.sql('ANALYZE token, subtoken')
    return { root, last: keys[count] }
  }

  const expectGone = async (username: string, keys: readonly TokenKey[], count: number) => {
    expect(new Set(keys).size).toBe(count)
    expect(keys).toHaveLength(count)
    expect(await t.h.sql('SELECT FROM token WHERE username = $1', [username])).toEqual([])
    const history = await t.h.sql<{ token: string; parent: string | null }>(
      `SELECT token, parent FROM token_change_history WHERE username = $1 AND action = 'revoke' ORDER BY id`,
      [username],
    )
    expect(history.map(({ token }) => token)).toEqual(keys)
    const placeOf = new Map(history.map(({ token }, place) => [token, place]))
    const early = history
      .slice(0, -1)
      .filter(({ parent }, place) => (placeOf.get(parent ?? '') ?? -1) <= place)
    expect(early).toEqual([])
  }

  it.each([
    ['130,000 levels deep', 130_000, (n: number) => n - 1],
    ['20,000 children wide', 20_000, () => 0],
    ['10,000 deep, with a child more at every level', 20_000, (n: number) => (n % 2 === 0 ? n - 2 : n - 1)],
  ])(
    '%s is revoked whole, a child before its parent, by statements whose number does not grow with its depth',
    async (_shape, count, parentOf) => {
      const { root } = await grow(count, parentOf)
      let keys: readonly TokenKey[] = []
      const statements = await statementsOf(async () => {
        keys = await revocation().revoke(OPERATOR, keyOf(root))
      })
      expect(keys.at(-1)).toBe(keyOf(root))
      expect(statements.length).toBeLessThan(count / 100)
      await expectGone(root.username, keys, count + 1)
    },
  )

  it('whose lineage is circular is revoked whole, by any of its tokens', async () => {
    const { root, last } = await grow(2_000, (n) => n - 1)
    await t.h.sql('INSERT INTO subtoken VALUES ($1, $2)', [keyOf(root), last])
    const keys = await revocation().revoke(OPERATOR, keyOf(root))
    expect(keys.at(-1)).toBe(keyOf(root))
    await expectGone(root.username, keys, 2_001)
  })

  it('does not delay the refusal of the named token: its record is deleted before its tree is listed', async () => {
    const { root } = await grow(3, (n) => n - 1)
    const holding = await t.connect()
    await holding.query('BEGIN')
    await holding.query("SELECT FROM token WHERE username = $1 AND token_type = 'internal' FOR UPDATE", [
      root.username,
    ])
    const revoked = revocation().revoke(OPERATOR, keyOf(root))
    await t.waiting(1)
    expect(await t.tokens.find(keyOf(root))).toBe(undefined)
    await holding.query('COMMIT')
    expect(await revoked).toHaveLength(4)
  })
})
