import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'

const CHILDREN = 30

/** Asks for children of the parent of children ..., so that each level multiplies the rows by their number. */
const nested = (levels: number): string =>
  levels === 0 ? 'key' : `key children { nodes { parent { ${nested(levels - 1)} } } }`

/** Rows that each statement about edges has read. */
async function rowsRead(work: () => Promise<unknown>): Promise<number[]> {
  const { query } = pg.Client.prototype
  const counts: number[] = []
  const counting = function (this: pg.Client, ...args: unknown[]): unknown {
    const [{ text = '' }, done] = [args[0] as { text?: string }, args.at(-1)]
    if (!text.includes('LATERAL') || typeof done !== 'function') return Reflect.apply(query, this, args)
    const noting = (error: unknown, result?: pg.QueryResult) => {
      counts.push(result?.rows.length ?? 0)
      done(error, result)
    }
    return Reflect.apply(query, this, [...args.slice(0, -1), noting])
  }
  pg.Client.prototype.query = counting as typeof query
  try {
    await work()
  } finally {
    pg.Client.prototype.query = query
  }
  return counts
}

describe('the lists of a request', () => {
  const t = usePorthor('redis', {}, { isFresh: true })

  /** A session, and `breadth` children of it, each of which has as many. */
  const plant = async (breadth: number, levels: number) => {
    const session = await t.h.session()
    const { key } = parseToken(session)
    let parents = [key as string]
    for (let level = 0; level < levels; level += 1) {
      const rows = await t.h.sql<{ child: string }>(
        `WITH child AS (
           INSERT INTO token (token, username, token_type, scopes, service, created, expires)
           SELECT left(md5(parent || n), 22), 'wren', 'internal', '', 'tap', now(), now() + interval '1 day'
           FROM unnest($1::text[]) AS parent, generate_series(1, $2) AS n RETURNING token
         )
         INSERT INTO subtoken
         SELECT left(md5(parent || n), 22), parent FROM unnest($1::text[]) AS parent, generate_series(1, $2) AS n
         RETURNING child`,
        [parents, breadth],
      )
      parents = rows.map(({ child }) => child)
    }
    return (fields: string) =>
      t.h.ask(`query ($key: ID!) { token(key: $key) { ${fields} } }`, { token: session, variables: { key } })
  }

  it('may have 5,000 rows on all pages together, also along their edges; more is refused', async () => {
    const ask = await plant(CHILDREN, 1)
    expect((await ask(nested(2))).errors).toEqual([])
    expect(await ask(nested(4))).toMatchObject({ status: 200, code: 'INVALID_PAGE_SIZE' })
  })

  it('are not read any further once one of many pages was too much', async () => {
    const ask = await plant(CHILDREN, 1)
    const pages = Array.from(
      { length: CHILDREN },
      (_, n) => `p${n}: children(first: ${CHILDREN + n}) { nodes { key } }`,
    )
    const counts = await rowsRead(async () => {
      const answer = await ask(`children { nodes { parent { ${pages.join(' ')} } } }`)
      expect(answer).toMatchObject({ code: 'INVALID_PAGE_SIZE' })
    })
    // The parent's 30 rows are given to each of 30 children: 900 for a page, of which 5 fit, after the first 30 rows.
    expect(counts).toEqual(Array(1 + 6).fill(CHILDREN))
  })

  it('are not read beyond the rows that the request may have', async () => {
    const ask = await plant(150, 2)
    const counts = await rowsRead(async () => {
      const answer = await ask(
        'children(first: 150) { nodes { children(first: 150) { nodes { key } } changes { nodes { token } } } }',
      )
      expect(answer).toMatchObject({ code: 'INVALID_PAGE_SIZE' })
    })
    expect(counts).toEqual([150, 5_001])
  })

  it('of history events are not read beyond the rows that the request may have', async () => {
    const ask = await plant(150, 1)
    await t.h.sql(
      `INSERT INTO token_change_history (token, username, token_type, scopes, actor, action, event_time)
       SELECT token, 'wren', 'internal', '', 'wren', 'create', now() FROM token, generate_series(1, 150)
       WHERE token_type = 'internal'`,
    )
    const counts = await rowsRead(async () => {
      const answer = await ask('children(first: 150) { nodes { changes(first: 150) { nodes { token } } } }')
      expect(answer).toMatchObject({ code: 'INVALID_PAGE_SIZE' })
    })
    expect(counts).toEqual([150, 5_001])
  })

  it('at its root count towards the same 5,000 rows', async () => {
    await plant(500, 1)
    const lists = (count: number, more = '') =>
      t.h.ask(
        `{ ${Array.from({ length: count }, (_, n) => `l${n}: tokens(type: INTERNAL, first: 500) { nodes { key } }`).join(' ')} ${more} }`,
        { token: t.h.bootstrapToken },
      )
    expect((await lists(10)).errors).toEqual([])
    expect(await lists(11)).toMatchObject({ status: 200, code: 'INVALID_PAGE_SIZE' })
    const both = await lists(10, 'tokenChanges(first: 1) { nodes { token } }')
    expect(both).toMatchObject({ status: 200, code: 'INVALID_PAGE_SIZE' })
  })
})
