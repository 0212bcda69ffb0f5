import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chown, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { systemClock } from '../lib/clock.ts'
import type { PostgresBinaries } from './binaries.ts'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { endWithProcess } from './end-with-process.ts'
import type { RunAs } from './os-user.ts'

/** Name of the superuser and of the database. */
export const POSTGRES_NAME = 'porthor'

/** The files of one embedded server. */
export interface ClusterPlace {
  readonly binaries: PostgresBinaries
  readonly runAs: RunAs
  /** Data directory of the program, which contains the other files. */
  readonly dataDir: string
  /** Data directory of the PostgreSQL server. */
  readonly clusterDir: string
  /** Standard error of the server. */
  readonly logFile: string
}

/** A larger server log is renamed at the next start, in bytes. One older log is kept. */
const MAX_LOG_BYTES = 5_000_000

/** Settings of a server for one program, on loopback only. Those of durability keep their defaults. */
const SETTINGS = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=',
  'max_connections=100',
  'shared_buffers=64MB',
  'max_wal_size=256MB',
  'timezone=UTC',
  'log_timezone=UTC',
  'jit=off',
]

/** Does not inherit the environment: `PG…` variables would configure the server, and it must not get our secrets. */
const ENVIRONMENT = { PATH: process.env.PATH ?? '', LC_ALL: 'C', TZ: 'UTC' }

/**
 * Creates the data directory of the server under another name and renames it when it is complete: a start that was
 * interrupted leaves no incomplete data directory. Of several starts at the same time, the first to finish wins.
 *
 * @throws {EmbeddedPostgresError} initdb failed; the message has its last output.
 */
export async function createCluster(place: ClusterPlace, password: string): Promise<void> {
  const draft = join(place.dataDir, `${DRAFT}${randomBytes(8).toString('hex')}`)
  const passwordFile = join(draft, 'password')
  try {
    await mkdir(draft, { mode: 0o700 })
    await writeFile(passwordFile, `${password}\n`, { mode: 0o600 })
    if (place.runAs.uid !== undefined) {
      await chown(passwordFile, place.runAs.uid, place.runAs.gid)
      await chown(draft, place.runAs.uid, place.runAs.gid)
    }
    await runInitdb(place, join(draft, 'data'), passwordFile)
    await rename(join(draft, 'data'), place.clusterDir)
  } catch (error) {
    const lost = error instanceof Error && 'code' in error && /^(ENOTEMPTY|EEXIST)$/.test(String(error.code))
    if (!lost) throw error
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}

const DRAFT = 'postgres-draft-'

/** Creating a data directory takes seconds. An older draft, in milliseconds, is abandoned. */
const MAX_DRAFT_AGE_MS = 10 * 60_000

/** Removes the drafts of starts that were killed. Only old ones: another start may be working on a new one. */
export async function removeAbandonedDrafts(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (!name.startsWith(DRAFT)) continue
    const path = join(dataDir, name)
    const draft = await stat(path).catch(() => undefined)
    if (draft && systemClock.now().getTime() - draft.mtimeMs > MAX_DRAFT_AGE_MS)
      await rm(path, { recursive: true, force: true })
  }
}

async function runInitdb(place: ClusterPlace, pgdata: string, passwordFile: string): Promise<void> {
  // The builtin locale provider does not depend on locales of the operating system.
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
  const child = spawn(
    place.binaries.initdb,
    [
      `--pgdata=${pgdata}`,
      `--username=${POSTGRES_NAME}`,
      '--auth=scram-sha-256',
      `--pwfile=${passwordFile}`,
      ...locale,
    ],
    {
      ...place.runAs,
      cwd: place.dataDir,
      env: ENVIRONMENT,
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  let output = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  const cancel = endWithProcess(() => child.kill('SIGKILL'))
  const code = await exitOf(child).finally(cancel)
  if (code !== 0) throw new EmbeddedPostgresError(`initdb failed (${code}): ${lastLines(output)}`)
}

/** Resolves to the exit code or signal of `child` when its output is complete. Rejects if it could not start. */
async function exitOf(child: ChildProcess): Promise<string | number> {
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  return code ?? signal ?? 'unknown'
}

/** A server that this process started. It does not keep this process alive. */
export interface Spawned {
  readonly pid: number
  readonly port: number
  hasEnded(): boolean
  /** Keeps the server running when this process exits, because another owns it. Before, it ends with this process. */
  release(): void
  /** Resolves when the server has ended. Never rejects. */
  readonly lastOutput: Promise<LastOutput>
}

/** The last lines of the log when a server has ended. Servers that are started at the same time share one log. */
export interface LastOutput {
  /** Lines of the server itself, without those of its child processes and of other servers. */
  readonly own: string
  readonly all: string
}

/**
 * Starts the server on a free port of 127.0.0.1, in its own session and process group: Ctrl-C in a terminal signals every
 * process of the group, and must not stop the server while requests are drained. Returns before the server is ready, and
 * before it can detect another server.
 */
export async function spawnServer(place: ClusterPlace, flags: readonly string[]): Promise<Spawned> {
  const log = await openLog(place.logFile)
  try {
    const port = await findFreePort()
    const { size: start } = await log.stat()
    const settings = SETTINGS.flatMap((setting) => ['-c', setting])
    const child = spawn(
      place.binaries.postgres,
      ['-D', place.clusterDir, '-p', String(port), ...settings, ...flags],
      {
        ...place.runAs,
        cwd: place.dataDir,
        env: ENVIRONMENT,
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
      },
    )
    child.unref()
    // An immediate shutdown: the server replays its log at the next start.
    const cancel = endWithProcess(() => child.kill('SIGQUIT'))
    child.once('exit', cancel)
    const { pid } = child
    const lastOutput = once(child, 'exit').then(
      async () => findLastOutput(await readLog(place.logFile, start), pid),
      (error: unknown) => ({ own: String(error), all: String(error) }),
    )
    if (pid === undefined) {
      throw new EmbeddedPostgresError(`PostgreSQL did not start: ${(await lastOutput).all}`)
    }
    const hasEnded = () => child.exitCode !== null || child.signalCode !== null
    return { pid, port, hasEnded, release: cancel, lastOutput: lastOutput }
  } finally {
    await log.close()
  }
}

async function openLog(path: string) {
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  )
  if (size > MAX_LOG_BYTES) await rename(path, `${path}.1`)
  return open(path, 'a', 0o600)
}

async function readLog(path: string, from: number): Promise<string> {
  const bytes = await readFile(path).catch(() => Buffer.alloc(0))
  return bytes.subarray(from).toString('utf8')
}

/** Returns the last lines of `text`, a part of the log; `own` by the process id that PostgreSQL writes in each line. */
export function findLastOutput(text: string, pid: number | undefined): LastOutput {
  const own = text.split('\n').filter((line) => line.includes(`[${pid}]`))
  return { own: lastLines(own.length > 0 ? own.join('\n') : text), all: lastLines(text) }
}

const lastLines = (text: string): string => text.trim().split('\n').slice(-5).join(' | ')

/** Returns a port that was free. If another program takes it meanwhile, the server logs that and ends. */
async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  if (address === null || typeof address === 'string') throw new Error('The TCP server has no port.')
  return address.port
}
