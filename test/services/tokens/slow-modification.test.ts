import { expect, it, vi } from 'vitest'
import type { TokenData } from '../../../src/domain/token.ts'
import { failure } from '../../support/checks/failures.ts'
import { IP, SHORT_LIVED } from '../../support/porthor/parent-token.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { growTree } from '../../support/tokens/large-tree.ts'
import { keyOf, makeRoot } from '../../support/tokens/trees.ts'

// The response to a change that goes on takes nine seconds.
vi.setConfig({ testTimeout: 120_000 })

const CALLER = { actor: { kind: 'bootstrap' }, ipAddress: IP } as const

/** More than one response may take, in statements that are each within their limit: a statement changes 1,000 rows. */
const [TOKENS, SECONDS] = [3_500, 3]

const t = usePorthor('redis', SHORT_LIVED)

const makeLargeTree = async (): Promise<readonly TokenData[]> => {
  const root = await makeRoot(t.h, { scopes: ['read:all', 'read:tap'] })
  return growTree({ query: (text, values) => t.h.sql(text, values), tokens: t.tokens }, root, [TOKENS])
}

/** Has each statement that changes rows of tokens take long. */
const slowDown = async () => {
  await t.h.sql(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN PERFORM pg_sleep(${SECONDS}); RETURN NULL; END $$`)
  await t.h.sql('CREATE TRIGGER slow AFTER UPDATE ON token FOR EACH STATEMENT EXECUTE FUNCTION slow()')
}

const scopesOf = async (tokens: readonly TokenData[]) => {
  const rows = await t.h.sql<{ scopes: string }>('SELECT DISTINCT scopes FROM token WHERE token = ANY ($1)', [
    tokens.map(({ token }) => token.key),
  ])
  return rows.map(({ scopes }) => scopes)
}

const PATIENT = { timeout: 60_000, interval: 100 }

it('the edit of a tree that takes longer than a response may is UNAVAILABLE, which says that it goes on, and reaches all or none of the tree', async () => {
  const tree = await makeLargeTree()
  const [root] = tree as [TokenData]
  await slowDown()
  await expect(
    t.h.context.services.modification.modify(CALLER, keyOf(root), { scopes: ['read:tap'] }),
  ).rejects.toThrow(failure('UNAVAILABLE', { message: expect.stringContaining('goes on') }))

  const seen: (readonly string[])[] = []
  const look = async () => {
    seen.push(await scopesOf(tree))
    expect(seen.at(-1)).toEqual(['read:tap'])
  }
  await vi.waitFor(look, PATIENT)
  expect(seen.filter(({ length }) => length !== 1)).toEqual([])
  await vi.waitFor(
    async () => expect((await t.tokens.find(keyOf(root)))?.scopes).toEqual(['read:tap']),
    PATIENT,
  )
})
