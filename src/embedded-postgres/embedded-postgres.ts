import { access, chmod, constants, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { systemClock } from '../lib/clock.ts'
import { makeDirectory } from '../lib/make-directory.ts'
import { findPostgresBinaries } from './binaries.ts'
import {
  type ClusterPlace,
  createCluster,
  POSTGRES_NAME,
  removeAbandonedDrafts,
  type Spawned,
  spawnServer,
} from './cluster.ts'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { endWithProcess } from './end-with-process.ts'
import { findReachableBinaries, findReachableHome } from './home.ts'
import { choosePostgresUser } from './os-user.ts'
import { connectTo, isOwned, OwnedByAnotherError, type Ownership, takeOwnership } from './ownership.ts'
import { loadPostgresPassword } from './password.ts'
import { endAtOnce, findPostmaster, type Postmaster, servesHere } from './postmaster.ts'

export { EmbeddedPostgresError } from './embedded-postgres-error.ts'

export interface EmbeddedPostgresOptions {
  /** Contains `postgres/`, `postgres-password` and `postgres.log`. Created if missing. */
  readonly dataDir: string
  readonly log: EmbeddedPostgresLog
  /** Additional arguments of the `postgres` program, such as `-c fsync=off` in tests. */
  readonly postgresFlags?: readonly string[]
}

export interface EmbeddedPostgresLog {
  info(obj: object, msg: string): void
  warn(obj: object, msg: string): void
}

export interface EmbeddedPostgres {
  /** URL of the database `porthor` for its superuser `porthor`, with the password. The port differs at each start. */
  readonly url: string
  /** Process id of the server. */
  readonly pid: number
  /** Disconnects all clients and resolves when the server has ended. May be called several times. */
  close(): Promise<void>
  /** Ends the server immediately, also during `close`. It replays its log at the next start. */
  endAtOnce(): void
}

/** Maximum time until the server responds, in milliseconds: after a crash it replays its log first. */
const READY_TIMEOUT_MS = 120_000

/** Signals that stop the server, each with the time to wait for its effect, in milliseconds: fast, immediate, kill. */
const STOP_STEPS = [
  ['SIGINT', 20_000],
  ['SIGQUIT', 5_000],
  ['SIGKILL', 5_000],
] as const

/** Log lines of a server that may start at another attempt. */
const RETRYABLE = /lock file "postmaster.pid"|could not bind|could not create any TCP\/IP|shared memory block/

/**
 * Runs a real PostgreSQL as a child process, for one Porthor at a time.
 *
 * The process that holds an advisory lock in the server owns it, for as long as its connection lasts. A server whose
 * Porthor was killed is therefore taken over while it runs, and of two starts at the same time exactly one succeeds.
 *
 * @throws {EmbeddedPostgresError} Another Porthor owns it, or it cannot run here. The message has the remedy.
 */
export async function openEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { log } = options
  const place = await preparePlace(resolve(options.dataDir))
  if (place.dataDir !== resolve(options.dataDir)) {
    log.info(
      { dataDir: options.dataDir, usedInstead: place.dataDir },
      'user of PostgreSQL cannot enter the data directory: using another one',
    )
  }
  const password = await loadPostgresPassword(place)
  const { server, ownership } = await own(place, password, options)

  const end = () => {
    if (ownership.isOurs) endAtOnce(server.pid, place.clusterDir)
  }
  // Also a server that was taken over from another Porthor.
  const cancel = endWithProcess(end)
  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= ownership.release(() => stopServer(place, server.pid, log)).then(cancel)
    return closing
  }
  ownership.watch(() => closing !== undefined, log)

  try {
    await createDatabase(ownership.client)
    await removeAbandonedDrafts(place.dataDir)
  } catch (error) {
    await close()
    throw error
  }
  log.info({ pid: server.pid, port: server.port, dataDir: place.dataDir }, 'embedded PostgreSQL is ready')
  return { url: connectTo(server.port, password, POSTGRES_NAME), pid: server.pid, close, endAtOnce: end }
}

/**
 * Finds the server that a running Porthor owns on this data directory, to use it at the same time. Closing the result
 * does not stop the server. Returns `undefined` also for a server whose Porthor has ended.
 */
export async function findEmbeddedPostgres(
  dataDir: string,
): Promise<Pick<EmbeddedPostgres, 'url' | 'close'> | undefined> {
  const runAs = await choosePostgresUser(join(resolve(dataDir), 'postgres'))
  const home = await findReachableHome(resolve(dataDir), runAs)
  const place = { dataDir: home, clusterDir: join(home, 'postgres') }
  const server = await findPostmaster(place.clusterDir)
  if (!server) return undefined
  const url = connectTo(server.port, await loadPostgresPassword(place), POSTGRES_NAME)
  return (await isOwned(url)) ? { url, close: async () => undefined } : undefined
}

/** Creates the directory and chooses the OS user of the server, before anything is written to the directory. */
async function preparePlace(wantedDir: string): Promise<ClusterPlace> {
  const runAs = await choosePostgresUser(join(wantedDir, 'postgres'))
  const asOther = runAs.uid !== undefined
  let dataDir = wantedDir
  try {
    await makeDirectory(dirname(wantedDir))
    dataDir = await findReachableHome(wantedDir, runAs)
    await makeDirectory(dataDir, asOther ? 0o711 : 0o700)
    await access(dataDir, constants.W_OK | constants.X_OK)
    const { mode } = await stat(dataDir)
    if (asOther && (mode & 0o001) === 0) await chmod(dataDir, mode | 0o001)
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `Porthor cannot write to ${dataDir}: set DATA_DIR to a directory that it may write to, or set DATABASE_URL.`,
      { cause },
    )
  }
  const binaries = await findReachableBinaries(await findPostgresBinaries(), runAs)
  const clusterDir = join(dataDir, 'postgres')
  return { binaries, runAs, dataDir, clusterDir, logFile: join(dataDir, 'postgres.log') }
}

/** Starts a server, or takes over one without an owner, until this process owns one. Throws if another process does. */
async function own(
  place: ClusterPlace,
  password: string,
  { log, postgresFlags: flags = [] }: EmbeddedPostgresOptions,
): Promise<{ server: Postmaster; ownership: Ownership }> {
  const deadline = systemClock.monotonicMs() + READY_TIMEOUT_MS
  for (;;) {
    const running = await findPostmaster(place.clusterDir)
    const spawned = running ? undefined : await startServer(place, password, flags)
    const server = running ?? spawned
    if (!server) continue
    const isGone = spawned
      ? async () => spawned.hasEnded()
      : async () => !(await servesHere(server.pid, place.clusterDir))
    const claim = { place, server, password, deadline, isGone }
    const ownership = await takeOwnership(claim).catch(async (error: unknown) => {
      // A server that was started here must not stay, unless another process has taken it over meanwhile.
      if (error instanceof OwnedByAnotherError) spawned?.release()
      else if (spawned) await stopServer(place, server.pid, log)
      throw error
    })
    if (ownership) return { server, ownership }
    const lastOutput = await spawned?.lastOutput
    if (lastOutput !== undefined && !RETRYABLE.test(lastOutput.own)) {
      throw new EmbeddedPostgresError(
        `PostgreSQL ended while starting; its last log lines: ${lastOutput.all}`,
      )
    }
    if (systemClock.monotonicMs() > deadline) {
      throw new EmbeddedPostgresError(
        `PostgreSQL could not be started in ${place.dataDir}: ${lastOutput?.all}`,
      )
    }
    await delay(50)
  }
}

/** Creates a missing data directory and then returns `undefined`: another start may have created one first. */
async function startServer(
  place: ClusterPlace,
  password: string,
  flags: readonly string[],
): Promise<Spawned | undefined> {
  const found = await stat(place.clusterDir).catch(() => undefined)
  if (found) return spawnServer(place, flags)
  await createCluster(place, password)
  return undefined
}

async function createDatabase(client: pg.Client): Promise<void> {
  const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [POSTGRES_NAME])
  if (rowCount === 0) await client.query(`CREATE DATABASE ${pg.escapeIdentifier(POSTGRES_NAME)}`)
}

async function stopServer(place: ClusterPlace, pid: number, log: EmbeddedPostgresLog): Promise<void> {
  for (const [signal, timeoutMs] of STOP_STEPS) {
    if (!(await servesHere(pid, place.clusterDir))) return
    if (signal !== 'SIGINT')
      log.warn({ pid, signal }, 'embedded PostgreSQL has not ended: sending another signal')
    process.kill(pid, signal)
    const deadline = systemClock.monotonicMs() + timeoutMs
    while (systemClock.monotonicMs() < deadline && (await servesHere(pid, place.clusterDir))) await delay(10)
  }
}
