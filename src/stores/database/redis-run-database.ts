import { parseScopes, type Scopes } from '../../domain/scope.ts'
import type { TokenKey } from '../../domain/token.ts'
import type { Prisma, PrismaClient } from '../../generated/prisma/client.ts'
import { callStore } from '../unavailable.ts'
import { REPLAY_LOCK } from './advisory-locks.ts'
import { listBelow } from './lineage.ts'
import { CONNECT_TIMEOUT_MS } from './postgres-client.ts'
import { findNewestRun } from './runs-in-use.ts'

/** Maximum time of one replay, in milliseconds. */
const REPLAY_TIMEOUT_MS = 15 * 60_000

/** Added to the window, in seconds: for differences between clocks, rounding, and times that are written once a minute. */
const MARGIN_S = 120

/** History events that one statement returns. */
const BATCH_SIZE = 1_000

/** The attributes of a row that its record has too, and that can change. */
export interface ReplayedRow {
  readonly scopes: Scopes
  readonly expiresAt: Date | null
}

/** A token with recent history events. */
export interface ReplayedToken {
  readonly key: TokenKey
  readonly wasEdited: boolean
  /** `undefined` if it has no row any more, or its revocation is recorded. */
  readonly row: ReplayedRow | undefined
}

/** Recent history events and pending revocations. */
export interface RecentChanges {
  /** Batches of tokens. A token may come several times. */
  readonly tokens: AsyncIterable<readonly ReplayedToken[]>
  /** Waits for changes in progress, and returns the row, which is locked until the end of the transaction. */
  readonly hold: (key: TokenKey) => Promise<ReplayedRow | undefined>
}

export interface ReplayOptions {
  /**
   * Time since this process left another Redis, in milliseconds: its writes there may be missing here, unless the history
   * was applied since. `undefined` if it left none.
   */
  readonly leftMs: number | undefined
  /** How much older than the last use of Redis its data may be, in seconds. */
  readonly windowSeconds: number
  /** Whether this run replaces all others, which is not so for a master of a cluster. */
  readonly isOnlyRun: boolean
}

interface Change {
  readonly id: number
  readonly at: string
  readonly token: TokenKey
  readonly action: string
}

/** Records to which runs of Redis the history was applied, and reads that history. */
export class RedisRunDatabase {
  readonly #prisma: PrismaClient

  constructor(prisma: PrismaClient) {
    this.#prisma = prisma
  }

  /**
   * Runs `apply` with the recent changes, unless they were applied to this Redis already. One process at a time does this.
   * First commits that this run is in use. From then on no other process completes a change in another run, and what it
   * has completed before is among the recent changes.
   *
   * @returns `busy` if another process is applying them.
   */
  async replay(
    identity: string,
    options: ReplayOptions,
    apply: (changes: RecentChanges) => Promise<void>,
  ): Promise<'busy' | 'known' | 'applied'> {
    const begun = await this.#unlessKnown(identity, options, (tx) => begin(tx, identity, options))
    if (begun !== 'done') return begun
    const applied = await this.#unlessKnown(identity, options, async (tx) => {
      const since = await this.#forgetOldRuns(tx, identity, options.windowSeconds)
      await apply({ tokens: changesOf(tx, since), hold: (key) => holdRow(tx, key) })
      await tx.$executeRaw`
        UPDATE porthor_redis_run SET replayed_at = now(), seen_at = clock_timestamp() WHERE identity = ${identity}`
    })
    return applied === 'done' ? 'applied' : applied
  }

  /** Runs `work` in a transaction, unless the history was applied to this run, or another process is doing so. */
  #unlessKnown(
    identity: string,
    { leftMs, isOnlyRun }: ReplayOptions,
    work: (tx: Prisma.TransactionClient) => Promise<void>,
  ): Promise<'busy' | 'known' | 'done'> {
    const transaction = async (tx: Prisma.TransactionClient) => {
      const [lock] = await tx.$queryRaw<{ taken: boolean }[]>`
        SELECT pg_try_advisory_xact_lock(${REPLAY_LOCK}::int, hashtext(${identity})) AS taken`
      if (!lock?.taken) return 'busy'
      const [run] = await tx.$queryRaw<{ known: boolean }[]>`
        SELECT replayed_at >= began_at AND (${leftMs ?? null}::float8 IS NULL
               OR replayed_at >= clock_timestamp() - make_interval(secs => ${(leftMs ?? 0) / 1_000}::float8)) AS known
        FROM porthor_redis_run WHERE identity = ${identity}`
      if (run?.known && !(isOnlyRun && (await findNewestRun(tx)) !== identity)) return 'known'
      await work(tx)
      return 'done'
    }
    const limits = { timeout: REPLAY_TIMEOUT_MS, maxWait: CONNECT_TIMEOUT_MS }
    return callStore('postgres', () => this.#prisma.$transaction(transaction, limits))
  }

  /** Returns the identity of the run that began last. */
  findNewest(): Promise<string | undefined> {
    return callStore('postgres', () => findNewestRun(this.#prisma))
  }

  /** Writes that this run of Redis is in use now. */
  async note(identity: string): Promise<void> {
    await callStore(
      'postgres',
      () => this.#prisma.$executeRaw`
        UPDATE porthor_redis_run SET seen_at = clock_timestamp()
        WHERE identity = ${identity} AND seen_at < clock_timestamp() - interval '30 seconds'`,
    )
  }

  /**
   * Returns the time since which changes may be missing: the window before the last use of the Redis that this one replaces.
   * Deletes runs that were replaced more than 15 minutes ago: in a cluster, several masters may be replaced within minutes.
   */
  async #forgetOldRuns(
    tx: Prisma.TransactionClient,
    identity: string,
    windowSeconds: number,
  ): Promise<string> {
    await tx.$executeRaw`
      DELETE FROM porthor_redis_run AS run WHERE identity <> ${identity} AND EXISTS (
        SELECT FROM porthor_redis_run AS later
        WHERE later.replayed_at > run.seen_at AND later.replayed_at < now() - interval '15 minutes')`
    const [row] = await tx.$queryRaw<{ since: string }[]>`
      SELECT to_char((LEAST(now(), min(seen_at) FILTER (WHERE identity <> ${identity}
                              AND seen_at < now() - interval '2 minutes'),
                            min(replayed_at) FILTER (WHERE identity = ${identity} AND replayed_at > '-infinity'))
                      - make_interval(secs => ${windowSeconds + MARGIN_S}::float8)) AT TIME ZONE 'UTC',
                     'YYYY-MM-DD HH24:MI:SS.US') AS since
      FROM porthor_redis_run`
    if (!row) throw new Error('an aggregate has one row')
    return row.since
  }
}

/** Records that this run is in use, and began last. */
async function begin(
  tx: Prisma.TransactionClient,
  identity: string,
  { isOnlyRun }: ReplayOptions,
): Promise<void> {
  if (isOnlyRun && (await findNewestRun(tx)) === identity) return
  await tx.$executeRaw`
    INSERT INTO porthor_redis_run AS run (identity, began_at, replayed_at, seen_at)
    VALUES (${identity}, clock_timestamp(), '-infinity', clock_timestamp())
    ON CONFLICT (identity) DO UPDATE SET began_at = excluded.began_at WHERE ${isOnlyRun}`
}

async function* changesOf(
  tx: Prisma.TransactionClient,
  since: string,
): AsyncIterable<readonly ReplayedToken[]> {
  yield* beingRevoked(tx)
  yield* changedSince(tx, since)
}

/**
 * Yields tokens whose revocation is pending, with all their descendants: these still have rows and no history events, while
 * their records may already be deleted.
 */
async function* beingRevoked(tx: Prisma.TransactionClient): AsyncIterable<readonly ReplayedToken[]> {
  const roots = await tx.$queryRaw<{ token: TokenKey }[]>`
    SELECT token FROM porthor_pending_change WHERE action = 'revoke'`
  const keys = roots.map(({ token }) => token)
  if (keys.length === 0) return
  yield keys.map(toRevoked)
  for await (const links of listBelow(tx, keys)) yield links.map(({ child }) => toRevoked(child))
}

const toRevoked = (key: TokenKey): ReplayedToken => ({ key, wasEdited: false, row: undefined })

async function* changedSince(
  tx: Prisma.TransactionClient,
  since: string,
): AsyncIterable<readonly ReplayedToken[]> {
  let [at, id] = [since, 0]
  for (;;) {
    const changes = await tx.$queryRaw<Change[]>`
      SELECT id, to_char(event_time, 'YYYY-MM-DD HH24:MI:SS.US') AS at, token, action::text AS action
      FROM token_change_history WHERE (event_time, id) > (${at}::timestamp, ${id}::int)
      ORDER BY event_time, id LIMIT ${BATCH_SIZE}`
    const last = changes.at(-1)
    if (!last) return
    yield await withRows(tx, changes)
    ;[at, id] = [last.at, last.id]
  }
}

async function withRows(
  tx: Prisma.TransactionClient,
  changes: readonly Change[],
): Promise<readonly ReplayedToken[]> {
  const keys = [...new Set(changes.map(({ token }) => token))]
  const edited = new Set(changes.filter(({ action }) => action === 'edit').map(({ token }) => token))
  const found = await tx.$queryRaw<Row[]>`
    SELECT token AS key, scopes, expires AS "expiresAt" FROM token WHERE token = ANY (${keys})`
  const rows = new Map(found.map((row) => [row.key, parseRow(row)]))
  return keys.map((key) => ({ key, wasEdited: edited.has(key), row: rows.get(key) }))
}

async function holdRow(tx: Prisma.TransactionClient, key: TokenKey): Promise<ReplayedRow | undefined> {
  const [row] = await tx.$queryRaw<Row[]>`
    SELECT token AS key, scopes, expires AS "expiresAt" FROM token WHERE token = ${key} FOR SHARE`
  return row && parseRow(row)
}

interface Row {
  readonly key: TokenKey
  readonly scopes: string
  readonly expiresAt: Date | null
}

const parseRow = ({ scopes, expiresAt }: Row): ReplayedRow => ({ scopes: parseScopes(scopes), expiresAt })
