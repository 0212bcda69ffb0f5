import type { TokenKey } from '../../domain/token.ts'
import type { PrismaClient } from '../../generated/prisma/client.ts'
import { callStore } from '../unavailable.ts'
import {
  deletePendingChanges,
  findPendingChanges,
  findPendingEdit,
  type PendingChange,
} from './pending-changes.ts'
import { RunsInUse } from './runs-in-use.ts'

/** Reads and deletes pending changes. Every method may throw `UnavailableError`. */
export class PendingChangeDatabase {
  readonly #prisma: PrismaClient
  readonly #runs: RunsInUse

  /** @param runs Default: the token store is no Redis whose runs matter. */
  constructor(prisma: PrismaClient, runs = new RunsInUse()) {
    this.#prisma = prisma
    this.#runs = runs
  }

  /**
   * Returns the keys that were revoked together with these tokens, by the history: a child before its parent. The events of
   * one revocation have the same time.
   */
  async findRevoked(keys: readonly TokenKey[]): Promise<TokenKey[]> {
    const rows = await callStore(
      'postgres',
      () => this.#prisma.$queryRaw<{ token: TokenKey }[]>`
        WITH RECURSIVE revoked AS (
          SELECT id, token, event_time FROM token_change_history
          WHERE token = ANY (${keys}) AND action = 'revoke'
          UNION
          SELECT below.id, below.token, below.event_time FROM revoked CROSS JOIN LATERAL (
            SELECT id, token, event_time FROM token_change_history
            WHERE event_time = revoked.event_time AND parent = revoked.token AND action = 'revoke' OFFSET 0
          ) AS below
        )
        SELECT token FROM revoked ORDER BY id`,
    )
    return rows.map(({ token }) => token)
  }

  /** See `findPendingChanges`. */
  find(minAgeSeconds: number, afterId: bigint, limit: number): Promise<PendingChange[]> {
    return callStore('postgres', () => findPendingChanges(this.#prisma, minAgeSeconds, afterId, limit))
  }

  /** Finds the pending edit of a token. */
  findEdit(key: TokenKey): Promise<PendingChange | undefined> {
    return callStore('postgres', () => findPendingEdit(this.#prisma, key))
  }

  /**
   * Runs `follow`, which has the token store follow a change, and deletes the change. Keeps it if it was recorded again
   * since it was read.
   *
   * @throws {UnavailableError} See `RunsInUse`.
   */
  async complete(change: PendingChange, follow: () => Promise<void>): Promise<void> {
    const mark = this.#runs.mark()
    await follow()
    await callStore('postgres', async () => {
      await this.#runs.requireCurrent(this.#prisma, mark)
      await deletePendingChanges(this.#prisma, [change])
    })
  }
}
