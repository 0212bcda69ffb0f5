import { describe, expect, it } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { useHarness } from '../support/harness.ts'

const CHILDREN = 30

/** Asks for children of the parent of children ..., so that each level multiplies the rows by their number. */
const nested = (levels: number): string =>
  levels === 0 ? 'key' : `key children { nodes { parent { ${nested(levels - 1)} } } }`

describe('edges that lead back and forth', () => {
  const t = useHarness('redis')

  it('are followed until the pages of the request hold 20,000 rows, and then refused', async () => {
    const session = await t.h.session()
    const { key } = parseToken(session)
    await t.h.sql(
      `WITH child AS (
         INSERT INTO token (token, username, token_type, scopes, service, created, expires)
         SELECT lpad(n::text, 22, 'c'), 'wren', 'internal', '', 'tap', now(), now() + interval '1 day'
         FROM generate_series(1, $2) AS n RETURNING token
       )
       INSERT INTO subtoken SELECT token, $1 FROM child`,
      [key, CHILDREN],
    )
    const ask = (levels: number) =>
      t.h.ask(`query ($key: ID!) { token(key: $key) { ${nested(levels)} } }`, {
        token: session,
        variables: { key },
      })

    expect((await ask(2)).errors).toEqual([])
    expect(await ask(4)).toMatchObject({ status: 200, code: 'INVALID_PAGE_SIZE' })
  })
})
