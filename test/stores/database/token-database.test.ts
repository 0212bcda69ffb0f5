import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { RequestKey } from '../../../src/domain/delegation.ts'
import type { NewTokenRow } from '../../../src/domain/history.ts'
import type { TokenKey } from '../../../src/domain/token.ts'
import type { Prisma, PrismaClient } from '../../../src/generated/prisma/client.ts'
import { parsePostgresUrl } from '../../../src/lib/postgres-url.ts'
import { openPrisma } from '../../../src/stores/database/prisma.ts'
import { TokenDatabase, TokenTransaction } from '../../../src/stores/database/token-database.ts'
import { failure } from '../../support/checks/failures.ts'
import { recordingLog } from '../../support/checks/log.ts'
import { freshDatabase, type TestDatabase } from '../../support/stores/stores.ts'
import { aToken, at, LIMITS, NOW } from '../../support/tokens/token-data.ts'

const KEY = 'q1w2e3r4t5y6u7i8o9p0aQ' as TokenKey
const PARENT = aToken('parent').key
const ORIGIN = { actor: 'wren', ipAddress: '192.0.2.20' }

let testDatabase: TestDatabase
let prisma: PrismaClient
let database: TokenDatabase
let sql: pg.Pool

beforeAll(async () => {
  testDatabase = await freshDatabase()
  prisma = openPrisma(parsePostgresUrl(testDatabase.url), recordingLog().log)
  database = new TokenDatabase(prisma)
  sql = new pg.Pool({ connectionString: testDatabase.url, max: 3 })
})
beforeEach(async () => {
  await sql.query('TRUNCATE token, subtoken, token_change_history RESTART IDENTITY')
})
afterAll(async () => {
  await prisma.$disconnect()
  await sql.end()
  await testDatabase.drop()
})

const session = (facts: Partial<NewTokenRow> = {}): NewTokenRow => ({
  key: PARENT,
  username: 'wren',
  type: 'session',
  tokenName: null,
  service: null,
  scopes: ['exec:portal', 'read:image', 'user:token'],
  createdAt: NOW,
  expiresAt: at(30 * 86_400),
  parentKey: null,
  ...facts,
})

const child = (facts: Partial<NewTokenRow> = {}): NewTokenRow =>
  session({
    key: KEY,
    type: 'internal',
    service: 'image-cutouts',
    scopes: ['exec:portal', 'read:image'],
    expiresAt: at(86_400),
    parentKey: PARENT,
    ...facts,
  })

const SHAPE: RequestKey = {
  parentKey: PARENT,
  username: 'wren',
  type: 'internal',
  service: 'image-cutouts',
  scopes: ['exec:portal', 'read:image'],
}

const insert = (
  token: NewTokenRow,
  origin: Parameters<TokenTransaction['insert']>[1] = ORIGIN,
): Promise<boolean> => database.transaction((tx) => tx.insert(token, origin))

/** How many rows of tokens a connection has read, or entries of their indexes. */
async function rowsReadBy(connection: Prisma.TransactionClient): Promise<number> {
  const [read] = await connection.$queryRaw<{ count: bigint }[]>`
    SELECT sum(pg_stat_get_xact_tuples_returned(relation)) AS count
    FROM unnest('{token, token_pkey, token_by_username, token_username_token_name_key,
                  porthor_token_by_request}'::regclass[]) AS relation`
  return Number(read?.count)
}

/** All rows of a table as text, but the serial number. */
async function rowsOf(table: 'token' | 'subtoken' | 'token_change_history'): Promise<unknown[]> {
  const { rows } = await sql.query(`SELECT to_jsonb(t) - 'id' AS row FROM ${table} t ORDER BY 1`)
  return rows.map(({ row }) => row)
}

describe('inserting a token', () => {
  it('writes its row, its lineage and its history as Gafaelfawr does', async () => {
    await insert(session())
    await insert(child())

    const facts = {
      token: KEY,
      username: 'wren',
      token_type: 'internal',
      token_name: null,
      scopes: 'exec:portal,read:image',
      service: 'image-cutouts',
      expires: '2026-01-02T00:00:00',
    }
    expect(await rowsOf('token')).toContainEqual({
      ...facts,
      created: '2026-01-01T00:00:00',
      last_used: null,
    })
    expect(await rowsOf('subtoken')).toEqual([{ child: KEY, parent: PARENT }])
    expect(await rowsOf('token_change_history')).toContainEqual({
      ...facts,
      parent: PARENT,
      actor: 'wren',
      action: 'create',
      old_token_name: null,
      old_scopes: null,
      old_expires: null,
      ip_address: '192.0.2.20',
      event_time: '2026-01-01T00:00:00',
    })
  })

  it('writes no lineage for a token that was not delegated, and null for absent values', async () => {
    await insert(session({ scopes: [], expiresAt: null }), { actor: '<bootstrap>', ipAddress: null })

    expect(await rowsOf('token')).toMatchObject([
      { scopes: '', expires: null, service: null, token_name: null },
    ])
    expect(await rowsOf('subtoken')).toEqual([])
    expect(await rowsOf('token_change_history')).toMatchObject([
      { scopes: '', expires: null, parent: null, actor: '<bootstrap>', ip_address: null },
    ])
  })

  it.each(['session', 'user', 'notebook', 'internal', 'service', 'oidc'] as const)(
    'of type %s',
    async (type) => {
      await insert(session({ type }))

      expect(await rowsOf('token')).toMatchObject([{ token_type: type }])
      expect(await rowsOf('token_change_history')).toMatchObject([{ token_type: type }])
    },
  )

  it.each([
    ['192.0.2.20', '192.0.2.20'],
    ['2001:db8:0:0:0:0:0:20', '2001:db8::20'],
  ])('keeps the address %s as a host, without a mask', async (ipAddress, kept) => {
    await insert(session(), { actor: 'wren', ipAddress })

    const { rows } = await sql.query('SELECT ip_address::text FROM token_change_history')
    expect(rows).toEqual([{ ip_address: `${kept}/${kept.includes(':') ? 128 : 32}` }])
  })

  it('keeps names as they are, whatever they look like', async () => {
    const tokenName = `'; DROP TABLE token; -- ☃ "q" \\ `
    await insert(session({ type: 'user', tokenName }))

    expect(await rowsOf('token')).toMatchObject([{ token_name: tokenName }])
    expect(await rowsOf('token_change_history')).toMatchObject([{ token_name: tokenName }])
  })

  it('keeps times in UTC, whatever the zones of this process, the server and the session', async () => {
    vi.stubEnv('TZ', 'America/St_Johns')
    await sql.query(
      `ALTER ROLE CURRENT_USER IN DATABASE ${new URL(testDatabase.url).pathname.slice(1)} SET timezone = 'Asia/Tokyo'`,
    )
    const elsewhere = openPrisma(parsePostgresUrl(testDatabase.url), recordingLog().log)
    try {
      const away = new TokenDatabase(elsewhere)
      await away.transaction(async (tx) => {
        await tx.insert(session(), ORIGIN)
        await tx.insert(child(), ORIGIN)
      })

      expect(await rowsOf('token')).toContainEqual(
        expect.objectContaining({ expires: '2026-01-02T00:00:00' }),
      )
      expect(await away.findChildren({ shape: SHAPE, earliestEnd: at(86_400) })).toMatchObject([
        { expiresAt: at(86_400) },
      ])
      expect(await away.findChildren({ shape: SHAPE, earliestEnd: at(86_401) })).toEqual([])
      expect(await away.transaction((tx) => tx.lockForDelegation(SHAPE, LIMITS))).toEqual({
        scopes: session().scopes,
        expiresAt: at(30 * 86_400),
        depth: 0,
        isCrowded: false,
      })
    } finally {
      await elsewhere.$disconnect()
      await sql.query('ALTER ROLE CURRENT_USER RESET ALL')
      vi.unstubAllEnvs()
    }
  })

  it('fails where its parent is not there, and leaves nothing', async () => {
    await expect(insert(child())).rejects.toThrow(/subtoken_parent_fkey/)

    for (const table of ['token', 'subtoken', 'token_change_history'] as const)
      expect(await rowsOf(table)).toEqual([])
  })
})

describe('the name of a user token', () => {
  const named = (key: string, facts: Partial<NewTokenRow> = {}) =>
    session({ key: aToken(key).key, type: 'user', tokenName: 'laptop', ...facts })

  it('is taken once a token of the same user has it, and the second leaves nothing', async () => {
    await insert(named('a'))
    await expect(insert(named('b'))).rejects.toThrow(
      failure('DUPLICATE_TOKEN_NAME', { message: expect.stringContaining('"laptop"') }),
    )

    expect(await rowsOf('token')).toHaveLength(1)
    expect(await rowsOf('token_change_history')).toHaveLength(1)
  })

  it('can be used again once the token has expired, and its `expire` event is written, before maintenance runs', async () => {
    await insert(named('a', { createdAt: at(-900), expiresAt: at(-300) }))
    await insert(named('b'))

    expect(await rowsOf('token')).toMatchObject([{ token: aToken('b').key, token_name: 'laptop' }])
    expect(await rowsOf('token_change_history')).toContainEqual(
      expect.objectContaining({
        token: aToken('a').key,
        token_name: 'laptop',
        action: 'expire',
        actor: '<internal>',
        ip_address: null,
        event_time: '2026-01-01T00:00:00',
      }),
    )
  })

  it.each<[string, Partial<NewTokenRow>]>([
    ['lives a second longer', { expiresAt: at(1) }],
    ['never expires', { expiresAt: null }],
  ])('is taken by a token that %s', async (_what, facts) => {
    await insert(named('a', facts))

    await expect(insert(named('b'))).rejects.toThrow(failure('DUPLICATE_TOKEN_NAME'))
  })

  it('is not freed by a creation that fails', async () => {
    await insert(named('a', { expiresAt: at(-300) }))
    await insert(session({ key: aToken('b').key }))
    const sameKey = insert(named('b', { type: 'user' }))

    await expect(sameKey).rejects.toThrow()
    expect(await rowsOf('token')).toContainEqual(expect.objectContaining({ token: aToken('a').key }))
  })

  it.each(['connection terminated', 'command timed out', 'P2024'])(
    'is taken, not out of reach, where it reads like a fault: %s',
    async (tokenName) => {
      await insert(named('a', { tokenName }))

      await expect(insert(named('b', { tokenName }))).rejects.toThrow(failure('DUPLICATE_TOKEN_NAME'))
    },
  )

  it('is refused to one of two requests for it at the same time', async () => {
    const answers = await Promise.allSettled([insert(named('a')), insert(named('b'))])

    expect(answers.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(answers).toContainEqual({ status: 'rejected', reason: failure('DUPLICATE_TOKEN_NAME') })
  })

  it.each<[string, Partial<NewTokenRow>]>([
    ['of another user', { username: 'robin' }],
    ['in another case', { tokenName: 'Laptop' }],
    ['with a blank behind it', { tokenName: 'laptop ' }],
    ['that is null', { tokenName: null }],
  ])('is free where the other is one %s', async (_what, facts) => {
    await insert(named('a'))
    await insert(named('b', facts))
    await insert(named('c', { tokenName: null }))

    expect(await rowsOf('token')).toHaveLength(3)
  })
})

describe('a transaction', () => {
  it('is committed whole when its work is done, and returns the result', async () => {
    const answer = await database.transaction(async (tx) => {
      await tx.insert(session(), ORIGIN)
      await tx.insert(child(), ORIGIN)
      return 'done'
    })

    expect(answer).toBe('done')
    expect(await rowsOf('token')).toHaveLength(2)
  })

  it('is undone whole when its work throws, with the error as it was', async () => {
    const error = new Error('no')
    const failed = database.transaction(async (tx) => {
      await tx.insert(session(), ORIGIN)
      await tx.insert(child(), ORIGIN)
      throw error
    })

    await expect(failed).rejects.toBe(error)
    for (const table of ['token', 'subtoken', 'token_change_history'] as const)
      expect(await rowsOf(table)).toEqual([])
  })

  it('is not visible to others before its commit', async () => {
    await insert(session())
    await database.transaction(async (tx) => {
      await tx.insert(child(), ORIGIN)
      expect(await database.findChildren({ shape: SHAPE, earliestEnd: NOW })).toEqual([])
    })

    expect(await database.findChildren({ shape: SHAPE, earliestEnd: NOW })).toMatchObject([{ key: KEY }])
  })
})

describe('finding children', () => {
  it('returns those of the request key with enough remaining lifetime, the longest-lived first', async () => {
    await insert(session())
    const lives = { ends99: at(99), ends100: at(100), ends300: at(300), ends200: at(200) }
    for (const [name, expiresAt] of Object.entries(lives))
      await insert(child({ key: aToken(name).key, expiresAt }))

    expect(await database.findChildren({ shape: SHAPE, earliestEnd: at(100) })).toEqual(
      ['ends300', 'ends200', 'ends100'].map((name) => ({
        ...SHAPE,
        key: aToken(name).key,
        expiresAt: lives[name as keyof typeof lives],
      })),
    )
  })

  it('prefers the younger of those that expire together, and then orders by the code points of the key', async () => {
    await insert(session())
    for (const name of ['0ld', 'b', 'a', 'B', '_']) {
      await insert(child({ key: aToken(name).key, createdAt: name === '0ld' ? at(-60) : NOW }))
    }

    const keys = (await database.findChildren({ shape: SHAPE, earliestEnd: NOW })).map(({ key }) => key)
    expect(keys).toEqual(['B', '_', 'a', 'b', '0ld'].map((name) => aToken(name).key))
  })

  it('looks to the fraction of a second, which half of an odd lifetime has', async () => {
    await insert(session())
    await insert(child({ expiresAt: at(100) }))

    expect(await database.findChildren({ shape: SHAPE, earliestEnd: at(99.5) })).toHaveLength(1)
    expect(await database.findChildren({ shape: SHAPE, earliestEnd: at(100.5) })).toHaveLength(0)
  })

  it.each<[string, Partial<NewTokenRow>]>([
    ['another parent', { parentKey: aToken('stepparent').key }],
    ['no parent, as nobody delegated it', { parentKey: null }],
    ['another user', { username: 'robin' }],
    ['another type', { type: 'notebook' }],
    ['another service', { service: 'image-cutouts2' }],
    ['no service', { service: null }],
    ['fewer scopes', { scopes: ['exec:portal'] }],
    ['more scopes', { scopes: ['exec:portal', 'read:image', 'read:tap'] }],
    ['no scopes', { scopes: [] }],
    ['no end', { expiresAt: null }],
  ])('skips a child with %s', async (_what, facts) => {
    await insert(session())
    await insert(session({ key: aToken('stepparent').key }))
    await insert(child(facts))

    expect(await database.findChildren({ shape: SHAPE, earliestEnd: NOW })).toEqual([])
  })

  it('finds notebook tokens, which have no service, and internal tokens without scopes', async () => {
    await insert(session())
    await insert(child({ key: aToken('notebook').key, type: 'notebook', service: null }))
    await insert(child({ key: aToken('bare').key, scopes: [] }))

    expect(
      await database.findChildren({ shape: { ...SHAPE, type: 'notebook', service: null }, earliestEnd: NOW }),
    ).toMatchObject([{ key: aToken('notebook').key }])
    expect(await database.findChildren({ shape: { ...SHAPE, scopes: [] }, earliestEnd: NOW })).toMatchObject([
      { key: aToken('bare').key },
    ])
  })

  it('skips an orphan, whose parent has no row', async () => {
    await insert(session())
    await insert(child())
    await sql.query('DELETE FROM token WHERE token = $1', [PARENT])

    expect(await rowsOf('subtoken')).toEqual([{ child: KEY, parent: null }])
    expect(await database.findChildren({ shape: SHAPE, earliestEnd: NOW })).toEqual([])
  })

  /** Other children of the parent, each for a service of its own. */
  async function insertSiblings(count: number): Promise<void> {
    await sql.query(
      `INSERT INTO token (token, username, token_type, scopes, service, created, expires)
       SELECT 'child-' || i, 'wren', 'internal', 'read:all', 'service-' || i, $2, $3
       FROM generate_series(1, $1::int) AS i`,
      [count, NOW, at(86_400)],
    )
    await sql.query(`INSERT INTO subtoken SELECT 'child-' || i, $2 FROM generate_series(1, $1::int) AS i`, [
      count,
      PARENT,
    ])
  }

  it('finds the same among many children as among few', async () => {
    const others: Partial<NewTokenRow>[] = [
      { parentKey: aToken('stepparent').key },
      { parentKey: null },
      { username: 'robin' },
      { type: 'notebook', service: null },
      { service: 'image-cutouts2' },
      { service: null },
      { scopes: ['exec:portal'] },
      { scopes: [] },
      { expiresAt: null },
      { expiresAt: NOW },
    ]
    await insert(session())
    await insert(session({ key: aToken('stepparent').key }))
    await insert(child())
    for (const [index, facts] of others.entries())
      await insert(child({ key: aToken(`${index}`).key, ...facts }))
    const shapes: RequestKey[] = [
      SHAPE,
      { ...SHAPE, type: 'notebook', service: null },
      { ...SHAPE, scopes: [] },
      { ...SHAPE, parentKey: aToken('stepparent').key },
    ]
    const find = () =>
      Promise.all(shapes.map((shape) => database.findChildren({ shape, earliestEnd: at(1) })))
    const few = await find()
    expect(few.map((children) => children.map(({ key }) => key))).toEqual([
      [KEY],
      [aToken('3').key],
      [aToken('7').key],
      [aToken('0').key],
    ])
    await insertSiblings(200)
    expect(await find()).toEqual(few)
  })

  it('accepts a list of scopes that is longer than an index row may be', async () => {
    const scopes = Array.from({ length: 2_000 }, (_, index) => `scope:${index.toString(36).padStart(6, '0')}`)
    await insert(session())
    await insert(child({ scopes }))
    await insertSiblings(200)
    expect(await database.findChildren({ shape: { ...SHAPE, scopes }, earliestEnd: NOW })).toHaveLength(1)
  })

  it.each([1, 50, 51, 5_000])(
    'reads at most 51 rows of tokens, on tables that PostgreSQL knows nothing of as well: of %i children',
    async (count) => {
      await insert(session())
      await insertSiblings(count)
      const read = await prisma.$transaction(async (tx) => {
        const before = await rowsReadBy(tx)
        expect(await new TokenTransaction(tx).findChildren({ shape: SHAPE, earliestEnd: at(300) })).toEqual(
          [],
        )
        return (await rowsReadBy(tx)) - before
      })
      expect(read).toBeLessThanOrEqual(51)
    },
  )

  it('inside of a transaction sees what was committed since it began', async () => {
    await insert(session())
    await database.transaction(async (tx) => {
      expect(await tx.findChildren({ shape: SHAPE, earliestEnd: NOW })).toEqual([])
      await insert(child())
      expect(await tx.findChildren({ shape: SHAPE, earliestEnd: NOW })).toMatchObject([{ key: KEY }])
    })
  })
})

describe('inserting a child unless there is one', () => {
  const unless = { shape: SHAPE, earliestEnd: at(300) }
  const insertUnless = (token: NewTokenRow) => database.transaction((tx) => tx.insert(token, ORIGIN, unless))

  it('writes all rows if there is no such child', async () => {
    await insert(session())
    expect(await insertUnless(child())).toBe(true)
    expect(await database.findChildren(unless)).toMatchObject([{ key: KEY }])
    expect(await rowsOf('subtoken')).toEqual([{ child: KEY, parent: PARENT }])
    expect(await rowsOf('token_change_history')).toMatchObject([{ token: PARENT }, { token: KEY }])
  })

  it('writes nothing where there is one', async () => {
    await insert(session())
    await insert(child())
    const tables = ['token', 'subtoken', 'token_change_history'] as const
    const before = await Promise.all(tables.map(rowsOf))
    expect(await insertUnless(child({ key: aToken('another').key }))).toBe(false)
    expect(await Promise.all(tables.map(rowsOf))).toEqual(before)
  })

  it('applies the same conditions as finding one', async () => {
    await insert(session())
    await insert(child({ expiresAt: at(299) }))
    await insert(child({ key: aToken('other service').key, service: 'tap' }))
    expect(await insertUnless(child({ key: aToken('another').key }))).toBe(true)
  })
})

describe('locking for a delegation', () => {
  beforeEach(() => insert(session()))

  /** Runs `work` while a transaction holds the lock on `SHAPE`, and then ends that. */
  const whileLocked = (work: () => Promise<void>): Promise<void> =>
    database.transaction(async (tx) => {
      await tx.lockForDelegation(SHAPE, LIMITS)
      await work()
    })

  /** Waits until `count` connections wait for a lock. */
  const untilWaiting = (count: number, event: string): Promise<void> =>
    vi.waitFor(
      async () => {
        const { rows } = await sql.query(
          `SELECT count(*)::int AS waiting FROM pg_stat_activity
           WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = $1`,
          [event],
        )
        expect(rows).toEqual([{ waiting: count }])
      },
      { interval: 5, timeout: 4_000 },
    )

  const lock = (shape: RequestKey) => database.transaction((tx) => tx.lockForDelegation(shape, LIMITS))

  it.each([
    ['its end', at(30 * 86_400)],
    ['no end', null],
  ])('returns what the row of the parent has: %s', async (_what, expiresAt) => {
    const key = aToken('another').key
    const { scopes } = session()
    await insert(session({ key, expiresAt }))

    expect(await lock({ ...SHAPE, parentKey: key })).toEqual({
      scopes,
      expiresAt,
      depth: 0,
      isCrowded: false,
    })
  })

  it('returns nothing, and holds only its turn, where there is no such parent', async () => {
    await database.transaction(async (tx) => {
      expect(await tx.lockForDelegation({ ...SHAPE, parentKey: aToken('unknown').key }, LIMITS)).toBe(
        undefined,
      )
      const { rows } = await sql.query(
        `SELECT mode FROM pg_locks JOIN pg_database ON pg_database.oid = database
         WHERE datname = current_database() AND locktype = 'advisory'`,
      )
      expect(rows).toEqual([{ mode: 'ShareLock' }])
    })
  })

  it('keeps the parent from being deleted or locked for that, until the transaction ends', async () => {
    await whileLocked(async () => {
      const revoke = sql.query('SELECT FROM token WHERE token = $1 FOR UPDATE NOWAIT', [PARENT])
      await expect(revoke).rejects.toMatchObject({ code: '55P03' })
    })

    expect((await sql.query('DELETE FROM token WHERE token = $1', [PARENT])).rowCount).toBe(1)
  })

  it('lets the parent be changed otherwise meanwhile, as when it is seen in use', async () => {
    await whileLocked(async () => {
      const { rowCount } = await sql.query('UPDATE token SET last_used = now() WHERE token = $1', [PARENT])
      expect(rowCount).toBe(1)
    })
  })

  it('makes equal request keys wait for each other, and different ones not', async () => {
    let isDone = false
    let second: Promise<unknown> | undefined
    await whileLocked(async () => {
      second = lock(SHAPE).then(() => {
        isDone = true
      })
      await untilWaiting(1, 'advisory')

      const others: Partial<RequestKey>[] = [
        { service: 'tap' },
        { scopes: [] },
        { type: 'notebook', service: null },
      ]
      await Promise.all(others.map((other) => lock({ ...SHAPE, ...other })))
      expect(isDone).toBe(false)
    })

    await second
    expect(isDone).toBe(true)
  })

  it('lets one that waited see what the one before it issued', async () => {
    const make = () =>
      database.transaction(async (tx) => {
        await tx.lockForDelegation(SHAPE, LIMITS)
        const [found] = await tx.findChildren({ shape: SHAPE, earliestEnd: NOW })
        if (found) return found.key
        await tx.insert(child(), ORIGIN)
        return KEY
      })

    expect(await Promise.all(Array.from({ length: 8 }, make))).toEqual(Array(8).fill(KEY))
    expect(await rowsOf('subtoken')).toHaveLength(1)
  })

  it('returns nothing to one that waited for a parent that is then deleted, and locks nothing', async () => {
    const revoker = await sql.connect()
    try {
      await revoker.query('BEGIN')
      await revoker.query('SELECT FROM token WHERE token = $1 FOR UPDATE', [PARENT])
      const locked = lock(SHAPE)
      await untilWaiting(1, 'transactionid')
      await revoker.query('DELETE FROM token WHERE token = $1', [PARENT])
      await revoker.query('COMMIT')

      expect(await locked).toBe(undefined)
    } finally {
      revoker.release()
    }
  })

  it('returns the scopes and the expiry that a parent has after the change that it waited for', async () => {
    const revoker = await sql.connect()
    try {
      await revoker.query('BEGIN')
      await revoker.query('SELECT FROM token WHERE token = $1 FOR UPDATE', [PARENT])
      const locked = lock(SHAPE)
      await untilWaiting(1, 'transactionid')
      await revoker.query(
        `UPDATE token SET scopes = 'read:image', expires = '2026-01-01 01:00:00' WHERE token = $1`,
        [PARENT],
      )
      await revoker.query('COMMIT')

      expect(await locked).toEqual({
        scopes: ['read:image'],
        expiresAt: at(3_600),
        depth: 0,
        isCrowded: false,
      })
    } finally {
      revoker.release()
    }
  })
})
