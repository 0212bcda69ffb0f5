import type { Origin } from '../../domain/history.ts'
import type { TokenKey } from '../../domain/token.ts'
import { Prisma, type PrismaClient } from '../../generated/prisma/client.ts'

/** The database, or one of its transactions. */
type Queryable = Pick<PrismaClient, '$queryRaw' | '$executeRaw'>

/** What an edit is about, and so what the token store has to follow. */
export interface EditedFacts {
  readonly hasScopes: boolean
  readonly hasExpires: boolean
}

/** A change that is decided and that the token store has yet to follow. */
export interface PendingChange extends EditedFacts {
  readonly key: TokenKey
  /** Another one each time that a decision is added. */
  readonly id: bigint
  readonly action: 'revoke' | 'edit'
  readonly origin: Origin
}

/** Records that these tokens are revoked. An edit of one of them that was pending is pointless by now. */
export async function recordRevocations(
  db: Queryable,
  keys: readonly TokenKey[],
  { actor, ipAddress }: Origin,
): Promise<void> {
  await db.$executeRaw`
    INSERT INTO porthor_pending_change (token, action, actor, ip_address, has_scopes, has_expires)
    SELECT key, 'revoke', ${actor}, ${ipAddress}::inet, false, false FROM unnest(${keys}::text[]) AS doomed (key)
    ON CONFLICT (token) DO UPDATE SET id = excluded.id, action = 'revoke', actor = excluded.actor,
      ip_address = excluded.ip_address, recorded_at = excluded.recorded_at`
}

/** Records that a token is edited, also where another edit of it is pending: its record then has to follow both. */
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

/** Those of `keys` whose revocation is decided. */
export async function findRevocations(db: Queryable, keys: readonly TokenKey[]): Promise<Set<TokenKey>> {
  const rows = await db.$queryRaw<{ token: TokenKey }[]>`
    SELECT token FROM porthor_pending_change WHERE token = ANY (${keys}) AND action = 'revoke'`
  return new Set(rows.map(({ token }) => token))
}

/**
 * Takes the pending revocations of `keys`, so that nobody else completes them meanwhile.
 *
 * @param skipLocked Leave those that somebody else is completing; else wait for them.
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
 * The oldest pending changes after `afterId` that are of that age at least: whoever has decided a younger one is at it.
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

/** Deletes what has been completed, and nothing that was decided since it was read. */
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
