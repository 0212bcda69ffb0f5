import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parsePostgresUrl } from '../../../src/lib/postgres-url.ts'
import { openPool } from '../../../src/stores/database/prisma.ts'
import { PostgresTokenStore } from '../../../src/stores/token-store/postgres-token-store.ts'
import { recordingLog } from '../../support/checks/log.ts'
import { freshDatabase, type TestDatabase } from '../../support/stores/stores.ts'
import { tokenStoreContract } from '../../support/stores/token-store-contract.ts'
import { aSession, aToken, at } from '../../support/tokens/token-data.ts'

describe('the PostgreSQL token store', () => {
  let database: TestDatabase
  let sql: pg.Pool

  beforeAll(async () => {
    database = await freshDatabase()
    sql = new pg.Pool({ connectionString: database.url, max: 2 })
  })
  afterAll(async () => {
    await sql.end()
    await database.drop()
  })

  const opened = tokenStoreContract(async ({ records, clock }) => {
    await sql.query('TRUNCATE porthor_token_store')
    const pool = openPool(parsePostgresUrl(database.url), recordingLog().log, 5)
    return {
      store: new PostgresTokenStore({ pool, records, clock }),
      read: async (key) => {
        const { rows } = await sql.query('SELECT value FROM porthor_token_store WHERE token = $1', [key])
        return rows[0]?.value ?? null
      },
      write: async (key, value) => {
        await sql.query(
          `INSERT INTO porthor_token_store (token, value) VALUES ($1, $2)
           ON CONFLICT (token) DO UPDATE SET value = excluded.value, expires = NULL`,
          [key, value],
        )
      },
      close: () => pool.end(),
    }
  })

  it('keeps the expiry of each token in UTC, for maintenance, and null for a token that never expires', async () => {
    await opened().store.put(aSession({ token: aToken('a'), expiresAt: at(86_400) }))
    await opened().store.put(aSession({ token: aToken('b'), expiresAt: at(86_400) }))
    await opened().store.put(aSession({ token: aToken('b'), expiresAt: null }))

    const { rows } = await sql.query('SELECT token, expires::text FROM porthor_token_store ORDER BY token')
    expect(rows).toEqual([
      { token: aToken('a').key, expires: '2026-01-02 00:00:00' },
      { token: aToken('b').key, expires: null },
    ])
  })

  it('accepts a token in the last part of its last second', async () => {
    const data = aSession({ expiresAt: at(86_400) })
    opened().clock.advance(86_399.7)
    await opened().store.put(data)
    expect(await opened().store.find(data.token.key)).toEqual(data)
  })

  it('deletes expired records, to the second, and returns their number', async () => {
    for (const [name, end] of [
      ['a', at(99)],
      ['b', at(100)],
      ['c', at(101)],
      ['d', null],
    ] as const) {
      await opened().store.put(aSession({ token: aToken(name), expiresAt: end }))
    }
    opened().clock.advance(100)

    expect(await opened().store.sweep()).toBe(2)
    const { rows } = await sql.query('SELECT token FROM porthor_token_store ORDER BY token')
    expect(rows).toEqual([{ token: aToken('c').key }, { token: aToken('d').key }])
  })

  it('deletes all expired records, in several batches', async () => {
    await sql.query(
      `INSERT INTO porthor_token_store SELECT n, 'x', '2025-12-31' FROM generate_series(1, 2500) AS n`,
    )

    expect(await opened().store.sweep()).toBe(2_500)
    expect(await opened().store.sweep()).toBe(0)
  })
})
