import type { Pool } from 'pg'
import { isExpired, type TokenData, type TokenKey } from '../../domain/token.ts'
import { type Clock, systemClock } from '../../lib/clock.ts'
import { formatTimestamp } from '../database/timestamp.ts'
import { ChangedMeanwhileError, callStore } from '../unavailable.ts'
import type { EncryptedRecords } from './encrypted-records.ts'
import type { StoredRecord, TokenRecord, TokenStore } from './token-store.ts'

/** Rows per statement. */
const BATCH_SIZE = 1_000

/**
 * Keeps tokens in PostgreSQL, for installations without Redis: the same encrypted records, with an expiry column for
 * maintenance. It has its own connections, because a creation writes a record while its transaction holds a connection of
 * Prisma: with one pool, transactions could wait for each other for ever.
 */
export class PostgresTokenStore implements TokenStore {
  readonly #pool: Pool
  readonly #records: EncryptedRecords
  readonly #clock: Clock

  constructor(deps: { readonly pool: Pool; readonly records: EncryptedRecords; readonly clock: Clock }) {
    this.#pool = deps.pool
    this.#records = deps.records
    this.#clock = deps.clock
  }

  async find(key: TokenKey): Promise<TokenData | undefined> {
    return this.#records.decrypt(key, await this.#read(key))
  }

  async findRecord(key: TokenKey): Promise<TokenRecord | undefined> {
    return this.#records.decryptRecord(key, await this.#read(key))
  }

  async put(data: TokenData): Promise<void> {
    const values = this.#rowOf(data)
    await callStore('postgres', () =>
      this.#pool.query({
        name: 'porthor-token-store-put',
        text: `INSERT INTO porthor_token_store (token, value, expires) VALUES ($1, $2, $3)
               ON CONFLICT (token) DO UPDATE SET value = excluded.value, expires = excluded.expires`,
        values,
      }),
    )
  }

  async replace({ encrypted }: TokenRecord, data: TokenData): Promise<void> {
    const values = [...this.#rowOf(data), encrypted]
    const { rowCount } = await callStore('postgres', () =>
      this.#pool.query(
        'UPDATE porthor_token_store SET value = $2, expires = $3 WHERE token = $1 AND value = $4',
        values,
      ),
    )
    if (rowCount !== 1) throw new ChangedMeanwhileError('postgres', data.token.key)
  }

  async delete(keys: readonly TokenKey[]): Promise<void> {
    if (keys.length === 0) return
    await callStore('postgres', () =>
      this.#pool.query('DELETE FROM porthor_token_store WHERE token = ANY ($1)', [keys]),
    )
  }

  async *scan(): AsyncIterable<readonly TokenKey[]> {
    let keys: TokenKey[] = []
    do {
      const after = keys.at(-1) ?? ''
      const { rows } = await callStore('postgres', () =>
        this.#pool.query<{ token: TokenKey }>(
          'SELECT token FROM porthor_token_store WHERE token > $1 ORDER BY token LIMIT $2',
          [after, BATCH_SIZE],
        ),
      )
      keys = rows.map(({ token }) => token)
      if (keys.length > 0) yield keys
    } while (keys.length > 0)
  }

  async inspect(keys: readonly TokenKey[]): Promise<ReadonlyMap<TokenKey, StoredRecord>> {
    const { rows } = await callStore('postgres', () =>
      this.#pool.query<{ token: TokenKey; value: string }>(
        'SELECT token, value FROM porthor_token_store WHERE token = ANY ($1)',
        [keys],
      ),
    )
    return this.#records.inspectAll(rows.map(({ token, value }) => [token, value]))
  }

  async sweep(): Promise<number> {
    let deleted = 0
    for (let isDone = false; !isDone; ) {
      const { rowCount } = await callStore('postgres', () =>
        this.#pool.query(
          `DELETE FROM porthor_token_store WHERE token IN (
             SELECT token FROM porthor_token_store
             WHERE expires <= $1::timestamp
               - greatest(interval '0', $2::timestamp - (statement_timestamp() AT TIME ZONE 'UTC'))
             LIMIT $3 FOR UPDATE SKIP LOCKED)`,
          [this.#clock.now(), systemClock.now(), BATCH_SIZE].map((value) =>
            value instanceof Date ? formatTimestamp(value) : value,
          ),
        ),
      )
      isDone = (rowCount ?? 0) < BATCH_SIZE
      deleted += rowCount ?? 0
    }
    return deleted
  }

  async ping(): Promise<void> {
    await callStore('postgres', () => this.#pool.query('SELECT 1'))
  }

  #rowOf(data: TokenData): [TokenKey, string, string | null] {
    const { token, expiresAt } = data
    if (isExpired(data, this.#clock.now())) {
      throw new RangeError(`token ${token.key} has expired and cannot be stored`)
    }
    return [token.key, this.#records.encrypt(data), expiresAt && formatTimestamp(expiresAt)]
  }

  async #read(key: TokenKey): Promise<string | undefined> {
    const { rows } = await callStore('postgres', () =>
      this.#pool.query<{ value: string }>({
        name: 'porthor-token-store-get',
        text: 'SELECT value FROM porthor_token_store WHERE token = $1',
        values: [key],
      }),
    )
    return rows[0]?.value
  }
}
