import type { TokenKey } from '../../domain/token.ts'
import type { PrismaClient } from '../../generated/prisma/client.ts'
import type { PostgresUrl } from '../../lib/postgres-url.ts'
import { callStore } from '../unavailable.ts'
import { MAINTENANCE_LOCK } from './advisory-locks.ts'
import { readClockSkew } from './database-clock.ts'
import { expireTokens } from './expiry.ts'
import { createClient } from './postgres-client.ts'
import { formatTimestamp } from './timestamp.ts'

/** The statements of maintenance. Each is short, and a transaction of its own. */
export class MaintenanceDatabase {
  readonly #prisma: PrismaClient
  readonly #databaseUrl: PostgresUrl

  constructor(prisma: PrismaClient, databaseUrl: PostgresUrl) {
    this.#prisma = prisma
    this.#databaseUrl = databaseUrl
  }

  /**
   * Runs `work` unless another process, on any machine, is running maintenance. The lock is released when the connection
   * ends, and so also when the process does.
   *
   * @returns `undefined` if another process is running maintenance.
   */
  async alone<T>(work: () => Promise<T>): Promise<T | undefined> {
    const client = createClient(this.#databaseUrl, { application_name: 'porthor maintenance' })
    try {
      const { rows } = await callStore('postgres', async () => {
        await client.connect()
        return client.query<{ taken: boolean }>('SELECT pg_try_advisory_lock($1) AS taken', [
          MAINTENANCE_LOCK,
        ])
      })
      return rows[0]?.taken ? await work() : undefined
    } finally {
      await client.end().catch(() => undefined)
    }
  }

  /** Returns how far the clock of this machine is ahead of the database's, in milliseconds. */
  readClockSkew(): Promise<number> {
    return readClockSkew(this.#prisma)
  }

  /** Deletes up to `limit` expired tokens, and writes an `expire` event for each. Returns their number. */
  expire(now: Date, limit: number): Promise<number> {
    return callStore('postgres', () => expireTokens(this.#prisma, now, limit))
  }

  /** Deletes up to `limit` history events that are older than `cutoff`. Returns their number. */
  truncateHistory(cutoff: Date, limit: number): Promise<number> {
    return callStore(
      'postgres',
      () => this.#prisma.$executeRaw`
        DELETE FROM token_change_history WHERE id IN (
          SELECT id FROM token_change_history WHERE event_time < ${formatTimestamp(cutoff)}::timestamp
          ORDER BY event_time LIMIT ${limit} FOR UPDATE SKIP LOCKED)`,
    )
  }

  /** Writes when tokens were last used, except for those whose stored time is less than a minute older. */
  async recordUse(uses: readonly (readonly [TokenKey, Date])[]): Promise<void> {
    const keys = uses.map(([key]) => key)
    const times = uses.map(([, time]) => formatTimestamp(time))
    // A locked row is being revoked or edited: it is skipped instead of waited for.
    await callStore(
      'postgres',
      () => this.#prisma.$executeRaw`
        WITH used AS (
          SELECT * FROM unnest(${keys}::text[], ${times}::timestamp[]) AS used (key, time)
        ), free AS (
          SELECT token.token, used.time FROM token JOIN used ON used.key = token.token
          WHERE last_used IS NULL OR last_used <= used.time - interval '1 minute'
          ORDER BY token.token FOR NO KEY UPDATE OF token SKIP LOCKED
        )
        UPDATE token SET last_used = free.time FROM free WHERE token.token = free.token`,
    )
  }
}
