import { createHash } from 'node:crypto'
import type { RequestKey } from '../../domain/delegation.ts'
import { formatScopes } from '../../domain/scope.ts'
import type { TokenKey } from '../../domain/token.ts'

/**
 * The keys of all advisory locks that Porthor takes in its database. They are equal in every process and release, since
 * different releases run side by side. A lock has one key of 64 bits or two of 32 bits, which PostgreSQL keeps apart.
 *
 * One more is in the database `postgres` of the embedded server: its owner holds it (`embedded-postgres/ownership.ts`).
 */

/** Held for a session: one Porthor at a time migrates the database. */
export const MIGRATE_LOCK: readonly [number, number] = [0x706f_7274, 2]

/** Held for a session by Prisma's migration engine, native or not, while it changes the database. Prisma's number. */
export const ENGINE_LOCK = 72_707_369

/** Held for a session: one process at a time runs maintenance. */
export const MAINTENANCE_LOCK = 0x706f_7274_686f

/** First key; the second is a hash of the server's identity. One process at a time replays history to that Redis. */
export const REPLAY_LOCK = 0x7265_7031

/**
 * Seed of the hash of a token key. Shared by transactions that hold the token or one below it, and exclusive for an edit of
 * the token. PostgreSQL grants it in the order of the requests, so that users of a token cannot delay its edit for ever.
 */
export const CURRENT_TOKEN_LOCK_SEED = 0x7475_726e

/**
 * Returns the key of the lock on all children of one parent: shared by transactions that issue one, and exclusive while the
 * parent is near its maximum number of children.
 */
export const parentLockKey = (parentKey: TokenKey): bigint => hashToKey(['porthor parent', parentKey])

/** Returns the key of the lock on one request key: one transaction at a time issues a child for it. */
export function requestLockKey({ parentKey, type, service, scopes }: RequestKey): bigint {
  // The scopes of a notebook token follow its parent's, which may change while a request waits for the lock.
  const requested = type === 'notebook' ? null : formatScopes(scopes)
  return hashToKey(['porthor', parentKey, type, service, requested])
}

const hashToKey = (parts: readonly unknown[]): bigint =>
  createHash('sha256').update(JSON.stringify(parts)).digest().readBigInt64BE()
