import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chown, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { endWithProcess } from './end-with-process.ts'
import type { PostgresBinaries } from './postgres-binaries.ts'
import type { RunAs } from './postgres-os-user.ts'

/** Name of the superuser and of the database. */
export const POSTGRES_NAME = 'porthor'

/** Where one embedded server keeps its things. */
export interface ClusterPlace {
  readonly binaries: PostgresBinaries
  readonly runAs: RunAs
  /** Ours: holds everything else. */
  readonly dataDir: string
  /** The server's: its data directory. */
  readonly clusterDir: string
  /** What the server writes to its standard error. */
  readonly logFile: string
}

/** A server log larger than this many bytes is set aside at the next start; one older log is kept. */
const MAX_LOG_BYTES = 5_000_000

/** Settings for a server that one program uses, on loopback only. Durability stays as PostgreSQL has it. */
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

/** Nothing of ours: `PG…` variables would change the server, and our secrets are not its business. */
const ENVIRONMENT = { PATH: process.env.PATH ?? '', LC_ALL: 'C', TZ: 'UTC' }

/**
 * Makes the data directory. It is built under another name and renamed when complete, so that a start that
 * was cut off leaves nothing that looks like one; of several at once the first to finish wins.
 *
 * @throws {EmbeddedPostgresError} initdb failed; the message carries its last words.
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

/** Making a data directory takes seconds; a draft older than this many milliseconds has nobody at work on it. */
const DRAFT_IS_DEAD_MS = 10 * 60_000

/** Removes what starts that were killed left behind. Others may be at work: only old drafts go. */
export async function removeDeadDrafts(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (!name.startsWith(DRAFT)) continue
    const path = join(dataDir, name)
    const draft = await stat(path).catch(() => undefined)
    if (draft && Date.now() - draft.mtimeMs > DRAFT_IS_DEAD_MS)
      await rm(path, { recursive: true, force: true })
  }
}

async function runInitdb(place: ClusterPlace, pgdata: string, passwordFile: string): Promise<void> {
  // The builtin locale provider needs no locale of the operating system.
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
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  const letGo = endWithProcess(() => child.kill('SIGKILL'))
  const code = await exitOf(child).finally(letGo)
  if (code !== 0) throw new EmbeddedPostgresError(`initdb failed (${code}): ${lastLines(said)}`)
}

/** What `child` ended with, as soon as its output is complete; a child that never started rejects. */
async function exitOf(child: ChildProcess): Promise<string | number> {
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  return code ?? signal ?? 'unknown'
}

/** A server that we started. It does not keep our process alive. */
export interface Spawned {
  readonly pid: number
  readonly port: number
  hasEnded(): boolean
  /** Leaves it running when this process ends: it is another's. Until then it ends with this process. */
  letGo(): void
  /** Resolves when the server has ended. Never rejects. */
  readonly lastWords: Promise<LastWords>
}

/** The last lines of the log when a server has ended. Several that are started at once share one log. */
export interface LastWords {
  /** Of the server itself, and not of its children, nor of another server. */
  readonly own: string
  readonly all: string
}

/**
 * Starts the server on a free port of 127.0.0.1, in a session and process group of its own: Ctrl-C in a
 * terminal goes to every process of the group, and must not stop the server while we still drain.
 * Returns before it is ready, or has even found out that another one is there.
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
    // Immediately: it replays its log at the next start.
    const letGo = endWithProcess(() => child.kill('SIGQUIT'))
    child.once('exit', letGo)
    const { pid } = child
    const lastWords = once(child, 'exit').then(
      async () => lastWordsOf(await readLog(place.logFile, start), pid),
      (error: unknown) => ({ own: String(error), all: String(error) }),
    )
    if (pid === undefined) {
      throw new EmbeddedPostgresError(`PostgreSQL did not start: ${(await lastWords).all}`)
    }
    const hasEnded = () => child.exitCode !== null || child.signalCode !== null
    return { pid, port, hasEnded, letGo, lastWords }
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

/** What the server with this process id says in `text`, a part of the log: PostgreSQL names the writer of each line. */
export function lastWordsOf(text: string, pid: number | undefined): LastWords {
  const own = text.split('\n').filter((line) => line.includes(`[${pid}]`))
  return { own: lastLines(own.length > 0 ? own.join('\n') : text), all: lastLines(text) }
}

const lastLines = (text: string): string => text.trim().split('\n').slice(-5).join(' | ')

/** A port that was free a moment ago. Somebody may take it meanwhile; the server then says so and ends. */
async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port')
  return address.port
}
