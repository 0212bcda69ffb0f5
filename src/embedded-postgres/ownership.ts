import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { systemClock } from '../lib/clock.ts'
import { type ClusterPlace, POSTGRES_NAME } from './cluster.ts'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import type { Postmaster } from './postmaster.ts'

/** The advisory lock that the owner holds in database `postgres`: two arbitrary numbers. */
const LOCK = [0x706f7274, 1]

/** Prefix of the application name of the owner's connection, so that a refused start can name the owner. */
const OWNER_NAME = 'porthor owner '

/** Maximum time of one attempt to connect, in milliseconds. */
const CONNECT_TIMEOUT_MS = 5_000

/** Maximum time until the server accepts connections again after the owner lost its connection, in milliseconds. */
const RETAKE_TIMEOUT_MS = 60_000

/** Another running Porthor owns the server. */
export class OwnedByAnotherError extends EmbeddedPostgresError {}

interface Claim {
  readonly place: ClusterPlace
  readonly server: Postmaster
  readonly password: string
  /** Time of the monotonic clock, in milliseconds, after which a server that does not respond is given up. */
  readonly deadline: number
  /** Whether the server has ended. */
  isGone(): Promise<boolean>
}

interface WarnLog {
  warn(obj: object, msg: string): void
}

/** Returns the URL of a database on the server at this port of 127.0.0.1. */
export const connectTo = (port: number, password: string, database: string): string =>
  `postgresql://${POSTGRES_NAME}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`

/**
 * Waits until the server responds, and takes the lock that makes this process its owner. Returns `undefined` if the
 * server has ended instead.
 *
 * @throws {OwnedByAnotherError}
 * @throws {EmbeddedPostgresError} The password is wrong, or the server does not respond.
 */
export async function takeOwnership(claim: Claim): Promise<Ownership | undefined> {
  const client = await waitForServer(claim)
  if (!client) return undefined
  try {
    const owner = await lock(client)
    if (owner === undefined) return new Ownership(claim, client)
    await client.end()
    throw new OwnedByAnotherError(
      `Another Porthor is using ${claim.place.dataDir}, pid ${owner}: stop it, set DATA_DIR to a different ` +
        'directory for each, or set DATABASE_URL for both.',
    )
  } catch (error) {
    if (error instanceof EmbeddedPostgresError) throw error
    // The server ended between two statements.
    client.end().catch(() => undefined)
    return undefined
  }
}

/** The right to use and to stop the server: a lock that is held as long as its connection lasts. */
export class Ownership {
  readonly #claim: Claim
  #client: pg.Client
  #owned = true

  constructor(claim: Claim, client: pg.Client) {
    this.#claim = claim
    this.#client = client
  }

  get client(): pg.Client {
    return this.#client
  }

  /** Whether this process still owns the server, as far as it knows. */
  get isOurs(): boolean {
    return this.#owned
  }

  /** Takes the lock again when its connection breaks, until `closing`. Logs when the server itself has ended. */
  watch(closing: () => boolean, log: WarnLog): void {
    this.#client.once('end', async () => {
      if (closing()) return
      const { place, server } = this.#claim
      try {
        const again = await takeOwnership({
          ...this.#claim,
          deadline: systemClock.monotonicMs() + RETAKE_TIMEOUT_MS,
        })
        if (again) {
          this.#client = again.#client
          if (closing()) await this.#client.end()
          else this.watch(closing, log)
        } else if (!closing()) {
          log.warn({ pid: server.pid, logFile: place.logFile }, 'embedded PostgreSQL has ended unexpectedly')
        }
      } catch (err) {
        this.#owned = false
        log.warn({ err, pid: server.pid }, 'lost ownership of embedded PostgreSQL')
      }
    })
  }

  /** Stops the server if this process still owns it. Holds the lock to the end, so that no other process takes it over. */
  async release(stop: () => Promise<void>): Promise<void> {
    if (this.#owned) await stop()
    await this.#client.end().catch(() => undefined)
  }
}

async function waitForServer({
  place,
  server,
  password,
  deadline,
  isGone,
}: Claim): Promise<pg.Client | undefined> {
  for (;;) {
    const client = new pg.Client({
      connectionString: connectTo(server.port, password, 'postgres'),
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      application_name: `${OWNER_NAME}${process.pid}`,
      keepAlive: true,
    })
    // Without a listener, a broken connection would end the process. The `end` event is handled elsewhere.
    client.on('error', () => undefined)
    try {
      await client.connect()
      return client
    } catch (error) {
      client.end().catch(() => undefined)
      // The server may not have got its port, on which another program then responded: it needs time to end.
      await delay(50)
      if (await isGone()) return undefined
      if (isRefusal(error)) {
        throw new EmbeddedPostgresError(
          `PostgreSQL in ${place.dataDir} does not accept the password in postgres-password: restore that file.`,
          { cause: error },
        )
      }
      if (systemClock.monotonicMs() > deadline) {
        throw new EmbeddedPostgresError(
          `PostgreSQL (pid ${server.pid}) in ${place.dataDir} does not respond: see ${place.logFile}, ` +
            `or end that process.`,
          { cause: error },
        )
      }
    }
  }
}

const isRefusal = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === '28P01' || error.code === '28000')

/** Takes the lock, or returns the process id of its holder (`unknown` if it was released meanwhile). */
async function lock(client: pg.Client): Promise<string | undefined> {
  const { rows } = await client.query<{ taken: boolean }>(
    'SELECT pg_try_advisory_lock($1, $2) AS taken',
    LOCK,
  )
  if (rows[0]?.taken) return undefined
  return (await findHolder(client)) ?? 'unknown'
}

/** Returns the process id of the Porthor that holds the lock. */
async function findHolder(client: pg.Client): Promise<string | undefined> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT application_name AS name FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE locktype = 'advisory' AND granted AND classid = $1::bigint::oid AND objid = $2::bigint::oid AND objsubid = 2`,
    LOCK,
  )
  return rows[0]?.name.replace(OWNER_NAME, '')
}

/** Whether a running Porthor owns the server of `url`. */
export async function isOwned(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: CONNECT_TIMEOUT_MS })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return (await findHolder(client)) !== undefined
  } catch {
    // The server does not respond, or not yet. Opening it reports more.
    return false
  } finally {
    await client.end().catch(() => undefined)
  }
}
