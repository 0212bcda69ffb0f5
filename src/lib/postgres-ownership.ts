import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { type ClusterPlace, POSTGRES_NAME } from './postgres-cluster.ts'
import type { Postmaster } from './postgres-postmaster.ts'

/** Names the advisory lock that the owner holds in database `postgres`; any two numbers would do. */
const LOCK = [0x706f7274, 1]

/** How the owner's connection is named, so that a refused start can say whose server it is. */
const OWNER_NAME = 'porthor owner '

/** One attempt to connect may take this long, in milliseconds. */
const CONNECT_TIMEOUT_MS = 5_000

/** How long a server may take to answer again after it broke off the owner's connection, in milliseconds. */
const RETAKE_TIMEOUT_MS = 60_000

/** The server is another Porthor's, which is alive. */
export class OwnedByAnotherError extends EmbeddedPostgresError {}

interface Claim {
  readonly place: ClusterPlace
  readonly server: Postmaster
  readonly password: string
  /** Moment on the machine's clock after which a server that does not answer is given up. */
  readonly deadline: number
  /** Whether the server has ended. */
  isGone(): Promise<boolean>
}

interface WarnLog {
  warn(obj: object, msg: string): void
}

/** URL of a database on the server at this port of 127.0.0.1. */
export const connectTo = (port: number, password: string, database: string): string =>
  `postgresql://${POSTGRES_NAME}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`

/**
 * Waits until the server answers, and takes the lock that makes it ours.
 * Answers `undefined` when the server is gone instead.
 *
 * @throws {OwnedByAnotherError}
 * @throws {EmbeddedPostgresError} The password is wrong, or it does not answer.
 */
export async function takeOwnership(claim: Claim): Promise<Ownership | undefined> {
  const client = await waitForServer(claim)
  if (!client) return undefined
  try {
    const owner = await lock(client)
    if (owner === undefined) return new Ownership(claim, client)
    await client.end()
    throw new OwnedByAnotherError(
      `Another Porthor is using ${claim.place.dataDir}, pid ${owner}: stop it, or set DATA_DIR to a directory of ` +
        'its own for each, or DATABASE_URL for both.',
    )
  } catch (error) {
    if (error instanceof EmbeddedPostgresError) throw error
    // The server went away between two sentences.
    client.end().catch(() => undefined)
    return undefined
  }
}

/** The right to use and to stop the server: a lock that lives as long as its connection. */
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

  /** Whether the server is still ours, as far as is known. */
  get isOurs(): boolean {
    return this.#owned
  }

  /** Takes the lock again when its connection breaks, until `closing`; tells when the server itself is gone. */
  watch(closing: () => boolean, log: WarnLog): void {
    this.#client.once('end', async () => {
      if (closing()) return
      const { place, server } = this.#claim
      try {
        const again = await takeOwnership({ ...this.#claim, deadline: Date.now() + RETAKE_TIMEOUT_MS })
        if (again) {
          this.#client = again.#client
          if (closing()) await this.#client.end()
          else this.watch(closing, log)
        } else if (!closing()) {
          log.warn({ pid: server.pid, logFile: place.logFile }, 'embedded PostgreSQL has ended unexpectedly')
        }
      } catch (err) {
        this.#owned = false
        log.warn({ err, pid: server.pid }, 'lost hold of the embedded PostgreSQL')
      }
    })
  }

  /** Stops the server, if it is still ours, with the lock held to the end so that nobody takes it over dying. */
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
    // Without a listener a broken connection would end the process; the `end` event tells the rest.
    client.on('error', () => undefined)
    try {
      await client.connect()
      return client
    } catch (error) {
      client.end().catch(() => undefined)
      // A moment for a server that could not have its port: then somebody else answered there.
      await delay(50)
      if (await isGone()) return undefined
      if (isRefusal(error)) {
        throw new EmbeddedPostgresError(
          `PostgreSQL in ${place.dataDir} does not accept the password in postgres-password: restore that file.`,
          { cause: error },
        )
      }
      if (Date.now() > deadline) {
        throw new EmbeddedPostgresError(
          `PostgreSQL (pid ${server.pid}) in ${place.dataDir} does not answer: see ${place.logFile}, ` +
            `or end that process.`,
          { cause: error },
        )
      }
    }
  }
}

const isRefusal = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === '28P01' || error.code === '28000')

/** Takes the lock, or answers with the process id of its holder (`unknown` if it has just let go). */
async function lock(client: pg.Client): Promise<string | undefined> {
  const { rows } = await client.query<{ taken: boolean }>(
    'SELECT pg_try_advisory_lock($1, $2) AS taken',
    LOCK,
  )
  if (rows[0]?.taken) return undefined
  return (await findHolder(client)) ?? 'unknown'
}

/** Process id of the Porthor that holds the lock; `undefined` when none does. */
async function findHolder(client: pg.Client): Promise<string | undefined> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT application_name AS name FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE locktype = 'advisory' AND granted AND classid = $1::bigint::oid AND objid = $2::bigint::oid AND objsubid = 2`,
    LOCK,
  )
  return rows[0]?.name.replace(OWNER_NAME, '')
}

/** Whether the server that `url` is of belongs to a living Porthor. */
export async function isOwned(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: CONNECT_TIMEOUT_MS })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return (await findHolder(client)) !== undefined
  } catch {
    // It does not answer, or not yet: whoever opens it finds out more.
    return false
  } finally {
    await client.end().catch(() => undefined)
  }
}
