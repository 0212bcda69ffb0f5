import { expect, vi } from 'vitest'
import type { Porthor } from '../porthor/porthor.ts'

/** Resolves when `count` connections to the database of a Porthor wait for a lock of any kind. */
export function waitForLocks({ sql }: Pick<Porthor, 'sql'>, count: number): Promise<void> {
  return vi.waitFor(
    async () => {
      const waiting = await sql(
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      )
      expect(waiting).toHaveLength(count)
    },
    // The wait may begin late on a busy machine. It then lasts as long as the lock's limit, so that it is not missed.
    { timeout: 20_000, interval: 10 },
  )
}
