import type { TokenKey } from '../../domain/token.ts'
import type { PrismaClient } from '../../generated/prisma/client.ts'
import { callStore } from '../unavailable.ts'
import {
  deletePendingChanges,
  findPendingChanges,
  findPendingEdit,
  type PendingChange,
} from './pending-changes.ts'

/** Changes that are decided and not completed, and what has become of them. Every method may throw `UnavailableError`. */
export class PendingChangeDatabase {
  readonly #prisma: PrismaClient

  constructor(prisma: PrismaClient) {
    this.#prisma = prisma
  }

  /**
   * The keys that ended with tokens that were revoked, as history has them: a child before its parent. Those of one
   * revocation have one time, by which they are found.
   */
  async findRevoked(keys: readonly TokenKey[]): Promise<TokenKey[]> {
    const rows = await callStore(
      'postgres',
      () => this.#prisma.$queryRaw<{ token: TokenKey }[]>`
        WITH RECURSIVE ended AS (
          SELECT id, token, event_time FROM token_change_history
          WHERE token = ANY (${keys}) AND action = 'revoke'
          UNION
          SELECT below.id, below.token, below.event_time FROM ended CROSS JOIN LATERAL (
            SELECT id, token, event_time FROM token_change_history
            WHERE event_time = ended.event_time AND parent = ended.token AND action = 'revoke' OFFSET 0
          ) AS below
        )
        SELECT token FROM ended ORDER BY id`,
    )
    return rows.map(({ token }) => token)
  }

  /** As `findPendingChanges` of the pending changes. */
  find(minAgeSeconds: number, afterId: bigint, limit: number): Promise<PendingChange[]> {
    return callStore('postgres', () => findPendingChanges(this.#prisma, minAgeSeconds, afterId, limit))
  }

  /** The edit of a token that is pending. */
  findEdit(key: TokenKey): Promise<PendingChange | undefined> {
    return callStore('postgres', () => findPendingEdit(this.#prisma, key))
  }

  /** Deletes what has been completed, and nothing that was decided since it was read. */
  delete(changes: readonly PendingChange[]): Promise<void> {
    return callStore('postgres', () => deletePendingChanges(this.#prisma, changes))
  }
}
