import type { Origin } from '../../domain/history.ts'
import type { TokenKey } from '../../domain/token.ts'
import { Prisma, type PrismaClient } from '../../generated/prisma/client.ts'

/** The database, or one of its transactions. */
type Queryable = Pick<PrismaClient, '$queryRaw' | '$executeRaw'>

/** The attributes that an edit changes in the token store. */
export interface EditedFacts {
  readonly hasScopes: boolean
  readonly hasExpires: boolean
}

/** A change that is recorded in the database, and not yet made in the token store. */
export interface PendingChange extends EditedFacts {
  readonly key: TokenKey
  /** A new number each time that the change is recorded. */
  readonly id: bigint
  readonly action: 'revoke' | 'edit'
  readonly origin: Origin
}

/** Records that these tokens are revoked. Replaces their pending edits. */
export async function recordRevocations(
  db: Queryable,
  keys: readonly TokenKey[],
  { actor, ipAddress }: Origin,
): Promise<void> {
  await db.$executeRaw`
    INSERT INTO porthor_pending_change (token, action, actor, ip_address, has_scopes, has_expires)
    SELECT key, 'revoke', ${actor}, ${ipAddress}::inet, false, false FROM unnest(${keys}::text[]) AS revoked (key)
    ON CONFLICT (token) DO UPDATE SET id = excluded.id, action = 'revoke', actor = excluded.actor,
      ip_address = excluded.ip_address, recorded_at = excluded.recorded_at`
}

/** Records that a token is edited. If another edit of it is pending, the record must follow both. */
export async function recordEdit(
  db: Queryable,
  key: TokenKey,
  { actor, ipAddress }: Origin,
  { hasScopes, hasExpires }: EditedFacts,
): Promise<void> {
  await db.$executeRaw`
    INSERT INTO porthor_pending_change AS pending (token, action, actor, ip_address, has_scopes, has_expires)
    VALUES (${key}, 'edit', ${actor}, ${ipAddress}::inet, ${hasScopes}, ${hasExpires})
    ON CONFLICT (token) DO UPDATE SET id = excluded.id, actor = excluded.actor, ip_address = excluded.ip_address,
      has_scopes = pending.has_scopes OR excluded.has_scopes,
      has_expires = pending.has_expires OR excluded.has_expires, recorded_at = excluded.recorded_at
    WHERE pending.action = 'edit'`
}

/** Returns those of `keys` whose revocation is recorded. */
export async function findRevocations(db: Queryable, keys: readonly TokenKey[]): Promise<Set<TokenKey>> {
  const rows = await db.$queryRaw<{ token: TokenKey }[]>`
    SELECT token FROM porthor_pending_change WHERE token = ANY (${keys}) AND action = 'revoke'`
  return new Set(rows.map(({ token }) => token))
}

/**
 * Locks the pending revocations of `keys`, so that no other process completes them meanwhile.
 *
 * @param skipLocked Whether to skip those that another process is completing, instead of waiting.
 */
export function lockRevocations(
  db: Queryable,
  keys: readonly TokenKey[],
  skipLocked: boolean,
): Promise<PendingChange[]> {
  return select(
    db,
    Prisma.sql`WHERE token = ANY (${keys}) AND action = 'revoke'
      ORDER BY token FOR UPDATE ${skipLocked ? Prisma.sql`SKIP LOCKED` : Prisma.empty}`,
  )
}

/**
 * Returns the oldest pending changes after `afterId` with a minimum age: the process that recorded a younger one is completing
 * it.
 */
export const findPendingChanges = (
  db: Queryable,
  minAgeSeconds: number,
  afterId: bigint,
  limit: number,
): Promise<PendingChange[]> =>
  select(
    db,
    Prisma.sql`WHERE recorded_at <= clock_timestamp() - make_interval(secs => ${minAgeSeconds}) AND id > ${afterId}
      ORDER BY id LIMIT ${limit}`,
  )

export async function findPendingEdit(db: Queryable, key: TokenKey): Promise<PendingChange | undefined> {
  const [edit] = await select(db, Prisma.sql`WHERE token = ${key} AND action = 'edit'`)
  return edit
}

/** Deletes completed changes. Keeps those that were recorded again since they were read. */
export async function deletePendingChanges(db: Queryable, changes: readonly PendingChange[]): Promise<void> {
  await db.$executeRaw`
    DELETE FROM porthor_pending_change WHERE id = ANY (${changes.map(({ id }) => id)})`
}

interface Row extends EditedFacts {
  readonly key: TokenKey
  readonly id: bigint
  readonly action: PendingChange['action']
  readonly actor: string
  readonly ipAddress: string | null
}

async function select(db: Queryable, rest: Prisma.Sql): Promise<PendingChange[]> {
  const rows = await db.$queryRaw<Row[]>`
    SELECT token AS key, id, action::text, actor, host(ip_address) AS "ipAddress",
           has_scopes AS "hasScopes", has_expires AS "hasExpires"
    FROM porthor_pending_change ${rest}`
  return rows.map(({ actor, ipAddress, ...row }) => ({ ...row, origin: { actor, ipAddress } }))
}
