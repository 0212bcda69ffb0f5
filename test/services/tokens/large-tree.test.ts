import { describe, expect, it } from 'vitest'
import type { TokenData } from '../../../src/domain/token.ts'
import { IP, SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { FOUR_LEVELS, growTree, ONE_LEVEL } from '../../support/tokens/large-tree.ts'

/** Waits for the end: others are answered within ten seconds, in which a busy machine may not be done. */
const CALLER = { actor: { kind: 'operator' }, ipAddress: IP } as const

const keyOf = ({ token }: TokenData) => token.key

describe.each(['redis', 'postgres'] as const)('10,000 tokens, with the token store in %s,', (store) => {
  const t = usePorthor(store, SHORT_LIVED)
  const query = (text: string, values: unknown[]) => t.h.sql(text, values)
  const grow = (root: TokenData, levels: readonly number[]) =>
    growTree({ query, tokens: t.tokens }, root, levels)

  /** Nothing is left of them, and their end is written down in the order of `keys`, by one transaction. */
  const expectRevoked = async (tokens: readonly TokenData[], keys: readonly string[]) => {
    const expected = tokens.map(keyOf)
    expect(new Set(keys)).toEqual(new Set(expected))
    expect(keys).toHaveLength(expected.length)
    expect(await t.h.sql('SELECT FROM token WHERE token = ANY ($1)', [expected])).toEqual([])
    expect(await t.tokens.inspect(expected)).toEqual(new Map())
    const history = await t.h.sql<{ token: string; xmin: string }>(
      `SELECT token, xmin::text FROM token_change_history
       WHERE token = ANY ($1) AND action = 'revoke' AND actor = '<internal>' ORDER BY id`,
      [expected],
    )
    expect(history.map(({ token }) => token)).toEqual(keys)
    expect(new Set(history.map(({ xmin }) => xmin)).size).toBe(1)
  }

  it('four levels deep end with their root: deepest first, with their lineage on record', async () => {
    const root = await t.parent()
    const bystander = await t.parent({ username: root.username })
    const tree = await grow(root, FOUR_LEVELS)
    expect(tree).toHaveLength(10_000)
    const lineage = await t.h.sql('SELECT child, parent FROM subtoken ORDER BY child')

    const keys = await t.h.context.services.revocation.revoke(CALLER, keyOf(root))
    await expectRevoked(tree, keys)
    const place = new Map(tree.map((data, index) => [keyOf(data), index]))
    const levelOf = (key: string) =>
      [1, 10, 1_000, 10_000].findIndex((end) => (place.get(key as never) ?? 0) < end)
    const levels = keys.map(levelOf)
    expect(levels).toEqual([...levels].sort((a, b) => b - a))
    expect(
      await t.h.sql(
        `SELECT token AS child, parent FROM token_change_history
         WHERE action = 'revoke' AND parent IS NOT NULL ORDER BY token COLLATE "C"`,
      ),
    ).toEqual(lineage)
    expect(await t.tokens.find(keyOf(bystander))).toEqual(bystander)
  })

  it('that match a filter end in one call', async () => {
    const root = await t.parent()
    const bystander = await t.parent()
    const tokens = await grow(root, ONE_LEVEL)
    const filter = { username: root.username }
    const { revocation } = t.h.context.services
    expect(await revocation.findMatching(CALLER, filter, 3)).toMatchObject({ count: 10_000 })

    const { count, keys } = await revocation.revokeMatching(CALLER, filter)
    expect(count).toBe(10_000)
    await expectRevoked(tokens, keys)
    expect(await t.tokens.find(keyOf(bystander))).toEqual(bystander)
  })
})
