import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { type EmbeddedPostgres, openEmbeddedPostgres } from '../../src/embedded-postgres/embedded-postgres.ts'
import { findClosedDirectory } from '../../src/embedded-postgres/os-user.ts'
import { loadPostgresPassword } from '../../src/embedded-postgres/password.ts'
import { copyUsedDataDir } from '../support/stores/stores.ts'

const run = promisify(execFile)
const SCRIPT = fileURLToPath(new URL('../support/processes/embedded-postgres-process.ts', import.meta.url))

const warnings: string[] = []
const log = { info: () => undefined, warn: (_facts: object, message: string) => warnings.push(message) }

let dataDir: string

/** What a test began, to be ended after it and before its directory goes. */
const begun: (() => Promise<unknown>)[] = []

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'porthor-embedded-'))
  await copyUsedDataDir(dataDir)
})
afterEach(async () => {
  for (const end of begun.splice(0)) await end()
  await rm(dataDir, { recursive: true, force: true })
  expect(warnings.splice(0)).toEqual([])
})

const open = (dir = dataDir): Promise<EmbeddedPostgres> =>
  openEmbeddedPostgres({ dataDir: dir, log, postgresFlags: ['-c', 'fsync=off'] })

/** Opens for the length of a test. */
async function openHere(): Promise<EmbeddedPostgres> {
  const postgres = await open()
  begun.push(() => postgres.close())
  return postgres
}

async function ask(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client(url)
  client.on('error', () => undefined)
  await client.connect()
  try {
    const { rows } = await client.query({ text: sql, rowMode: 'array' })
    return rows.flat()
  } finally {
    await client.end()
  }
}

interface Said {
  readonly event: 'open' | 'refused' | 'interrupted' | 'closed'
  readonly pid: number
  readonly url: string
  readonly message: string
}

/** Another Porthor, in its own process group, as in a terminal. It ends with the test. */
function startElsewhere(): { process: ChildProcess; next(): Promise<Said> } {
  const child = spawn(process.execPath, ['--import', 'tsx', SCRIPT], {
    env: { ...process.env, DATA_DIR: dataDir },
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  begun.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () => JSON.parse((await lines.next()).value ?? '{}') as Said
  return { process: child, next }
}

async function killed(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL')
  await once(child, 'exit')
}

/** Whether a process runs. One that has ended may stay in the list until its parent, or the system, takes notice. */
async function isAlive(pid: number): Promise<boolean> {
  const state =
    process.platform === 'linux'
      ? ((await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')).split(') ')[1] ?? '')
      : (await run('ps', ['-o', 'stat=', '-p', String(pid)]).catch(() => ({ stdout: '' }))).stdout
  return /^\s*[^Z\s]/.test(state)
}

describe('the server', () => {
  it('keeps its data over a restart', async () => {
    const first = await open()
    await ask(first.url, `CREATE TABLE kept AS SELECT 'here' AS word`)
    await first.close()
    const second = await openHere()
    expect(await ask(second.url, 'SELECT word FROM kept')).toEqual(['here'])
  })

  it('is PostgreSQL 18 with UTF-8, UTC and durable writes, for loopback only', async () => {
    const postgres = await openEmbeddedPostgres({ dataDir, log })
    begun.push(() => postgres.close())
    const show = (name: string) => ask(postgres.url, `SHOW ${name}`)
    expect(await show('server_version')).toEqual([expect.stringMatching(/^18\./)])
    expect(await show('server_encoding')).toEqual(['UTF8'])
    expect(await show('timezone')).toEqual(['UTC'])
    expect(await show('fsync')).toEqual(['on'])
    expect(await show('synchronous_commit')).toEqual(['on'])
    expect(await show('full_page_writes')).toEqual(['on'])
    expect(await show('listen_addresses')).toEqual(['127.0.0.1'])
    expect(await show('unix_socket_directories')).toEqual([''])
    expect(await ask(postgres.url, 'SELECT current_database(), current_user')).toEqual(['porthor', 'porthor'])
  })

  it('requires the password, and hides it and the log from other users', async () => {
    const postgres = await openHere()
    const url = new URL(postgres.url)
    url.password = 'guess'
    await expect(ask(url.href, 'SELECT 1')).rejects.toThrow(/password authentication failed/)
    const modes = await Promise.all(
      ['postgres', 'postgres-password', 'postgres.log'].map(
        async (name) => (await stat(join(dataDir, name))).mode & 0o777,
      ),
    )
    expect(modes).toEqual([0o700, 0o600, 0o600])
    expect((await stat(dataDir)).mode & 0o066).toBe(0)
  })

  it('writes its log to a file, and nothing of our environment is in its own', async () => {
    const postgres = await openHere()
    expect(await readFile(join(dataDir, 'postgres.log'), 'utf8')).toMatch(/ready to accept connections/)
    if (process.platform !== 'linux') return
    const environment = await readFile(`/proc/${postgres.pid}/environ`, 'utf8')
    expect(
      environment
        .split('\0')
        .map((line) => line.split('=')[0])
        .filter(Boolean),
    ).toEqual(expect.arrayContaining(['LC_ALL', 'PATH', 'TZ']))
    expect(environment).not.toMatch(/VITEST/)
  })

  it('outlives Ctrl-C in the terminal of its Porthor, which can still drain', async () => {
    const other = startElsewhere()
    const { pid } = await other.next()
    // A terminal sends SIGINT to the whole foreground process group.
    process.kill(-Number(other.process.pid), 'SIGINT')
    expect(await other.next()).toEqual({ event: 'interrupted', answer: 1 })
    other.process.kill('SIGTERM')
    expect(await other.next()).toEqual({ event: 'closed' })
    expect(await isAlive(pid)).toBe(false)
  })
})

describe('close', () => {
  it('stops the server, and can be called twice', async () => {
    const postgres = await open()
    await Promise.all([postgres.close(), postgres.close()])
    await postgres.close()
    expect(await isAlive(postgres.pid)).toBe(false)
  })

  it('stops a server whose clients are in the middle of a query', async () => {
    const postgres = await open()
    const asleep = ask(postgres.url, 'SELECT pg_sleep(600)').catch((error: unknown) => error)
    await expect
      .poll(() =>
        ask(postgres.url, `SELECT count(*)::int FROM pg_stat_activity WHERE wait_event = 'PgSleep'`),
      )
      .toEqual([1])
    await postgres.close()
    expect(await asleep).toBeInstanceOf(Error)
    expect(await isAlive(postgres.pid)).toBe(false)
  })

  it('returns when the server has already stopped, and that was logged', async () => {
    const postgres = await open()
    process.kill(postgres.pid, 'SIGKILL')
    await expect.poll(() => warnings).toEqual(['embedded PostgreSQL has ended unexpectedly'])
    warnings.length = 0
    await postgres.close()
  })
})

describe('one Porthor at a time', () => {
  it('refuses a second start while the first runs, without harm to it', async () => {
    const other = startElsewhere()
    const { url } = await other.next()
    await expect(open()).rejects.toThrow(
      `Another Porthor is using ${dataDir}, pid ${other.process.pid}: stop it, set DATA_DIR`,
    )
    expect(await ask(url, 'SELECT 1')).toEqual([1])
  })

  it('keeps refusing after the connection that holds the lock was cut', async () => {
    const postgres = await openHere()
    await ask(
      postgres.url,
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'porthor owner %'`,
    )
    await expect
      .poll(() => ask(postgres.url, `SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory'`))
      .toEqual([1])
    await expect(open()).rejects.toThrow(`Another Porthor is using ${dataDir}, pid ${process.pid}`)
  })

  it('takes over the server of a Porthor that was killed, with its data, and stops it', async () => {
    const other = startElsewhere()
    const { url, pid } = await other.next()
    await ask(url, `CREATE TABLE kept AS SELECT 'here' AS word`)
    await killed(other.process)
    expect(await isAlive(pid)).toBe(true)

    const postgres = await open()
    expect(await ask(postgres.url, 'SELECT word FROM kept')).toEqual(['here'])
    await postgres.close()
    expect(await isAlive(pid)).toBe(false)
  })

  it('lets exactly one of several first starts at once succeed', async () => {
    await rm(dataDir, { recursive: true })
    const others = Array.from({ length: 4 }, startElsewhere)
    const said = await Promise.all(others.map((other) => other.next()))
    expect(said.map(({ event }) => event).toSorted()).toEqual(['open', 'refused', 'refused', 'refused'])
    for (const { event, message } of said) {
      if (event === 'refused') expect(message).toMatch(/^Another Porthor is using/)
    }
    const { url } = said.find(({ event }) => event === 'open') ?? { url: '' }
    expect(await ask(url, 'SELECT 1')).toEqual([1])
    expect((await readdir(dataDir)).toSorted()).toEqual(['postgres', 'postgres-password', 'postgres.log'])
  })

  it('lets exactly one of several starts at once have the server that was left running', async () => {
    const first = startElsewhere()
    await first.next()
    await killed(first.process)
    const said = await Promise.all(Array.from({ length: 3 }, startElsewhere).map((other) => other.next()))
    expect(said.map(({ event }) => event).toSorted()).toEqual(['open', 'refused', 'refused'])
  })

  it('gives several first starts at once the same password', async () => {
    const place = { dataDir, clusterDir: join(dataDir, 'nothing-yet') }
    await rm(join(dataDir, 'postgres-password'))
    const passwords = await Promise.all(
      Array.from({ length: 40 }, async (_, index) => {
        // Not in step: each at another point of its way when the first has finished.
        for (let turn = 0; turn < index; turn++) await nextTurn()
        return loadPostgresPassword(place)
      }),
    )
    expect(new Set(passwords).size).toBe(1)
  })

  it('lets exactly one of several starts at once succeed on data that is there', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 4 }, () => open()))
    const opened = outcomes.filter((outcome) => outcome.status === 'fulfilled').map(({ value }) => value)
    begun.push(...opened.map((postgres) => () => postgres.close()))
    const reasons = outcomes
      .filter((outcome) => outcome.status === 'rejected')
      .map(({ reason }) => reason.message)
    expect(reasons).toEqual(Array(3).fill(expect.stringMatching(/^Another Porthor is using/)))
    expect(await ask(opened[0]?.url ?? '', 'SELECT 1')).toEqual([1])
  })

  it('waits for a server that is just ending, and starts its own', async () => {
    const first = await open()
    // While it is stopped, it accepts connections and does not respond; it handles signals when it continues.
    process.kill(first.pid, 'SIGSTOP')
    const [kill, connect] = [vi.spyOn(process, 'kill'), vi.spyOn(pg.Client.prototype, 'connect')]
    onTestFinished(() => {
      for (const spy of [kill, connect]) spy.mockRestore()
    })
    const closing = first.close()
    const opening = open()
    await vi.waitFor(() => expect(kill).toHaveBeenCalledWith(first.pid, 'SIGINT'))
    await vi.waitFor(() => expect(connect).toHaveBeenCalled())
    process.kill(first.pid, 'SIGCONT')
    await closing
    const second = await opening
    begun.push(() => second.close())
    expect(second.pid).not.toBe(first.pid)
    expect(await ask(second.url, 'SELECT 1')).toEqual([1])
  })
})

describe('what a crash left', () => {
  it('a postmaster.pid whose process has ended does not prevent a start', async () => {
    const postgres = await open()
    process.kill(postgres.pid, 'SIGKILL')
    await expect.poll(() => warnings.splice(0)).toEqual(['embedded PostgreSQL has ended unexpectedly'])
    await postgres.close()
    expect(await readdir(join(dataDir, 'postgres'))).toContain('postmaster.pid')
    const again = await openHere()
    expect(await ask(again.url, 'SELECT 1')).toEqual([1])
  })

  it('a postmaster.pid whose number is that of another program now does not prevent a start', async () => {
    const clusterDir = join(dataDir, 'postgres')
    // PostgreSQL minds programs of its own OS user only.
    const { uid, gid } = await stat(clusterDir)
    const program = spawn('sleep', ['600'], { uid, gid, cwd: '/' })
    begun.push(() => killed(program))
    const left = `${program.pid}\n${clusterDir}\n1700000000\n5432\n\n127.0.0.1\n 1 2\nready\n`
    await writeFile(join(clusterDir, 'postmaster.pid'), left)
    const postgres = await openHere()
    expect(await ask(postgres.url, 'SELECT 1')).toEqual([1])
  })

  it('an incomplete data directory is not used, and is deleted later', async () => {
    const fresh = join(dataDir, 'postgres-draft-fresh')
    const dead = join(dataDir, 'postgres-draft-dead')
    for (const draft of [fresh, dead]) await mkdir(join(draft, 'data'), { recursive: true })
    const anHourAgo = new Date(Date.now() - 3_600_000)
    await utimes(dead, anHourAgo, anHourAgo)
    await openHere()
    expect(await readdir(dataDir)).toContain('postgres-draft-fresh')
    expect(await readdir(dataDir)).not.toContain('postgres-draft-dead')
  })
})

describe('refuses, and says what would be right', () => {
  it('a server that ends while it starts, with its last log lines', async () => {
    await writeFile(join(dataDir, 'postgres', 'postgresql.auto.conf'), `work_mem = 'plenty'\n`)
    await expect(open()).rejects.toThrow(
      /^PostgreSQL ended while starting; its last log lines: .*invalid value.*work_mem.*plenty/,
    )
  })

  it('data without its password', async () => {
    await rm(join(dataDir, 'postgres-password'))
    await expect(open()).rejects.toThrow(/postgres-password is missing.*restore it/)
  })

  it('data with another password', async () => {
    await writeFile(join(dataDir, 'postgres-password'), 'another\n')
    await expect(open()).rejects.toThrow(
      /does not accept the password in postgres-password: restore that file/,
    )
    // The server that was started in vain is stopped.
    expect(await readdir(join(dataDir, 'postgres'))).not.toContain('postmaster.pid')
  })

  it.each([
    ['below a file', () => join(dataDir, 'file', 'data')],
    ['where the system accepts no directory', () => '/proc/porthor/data'],
  ])('a data directory that cannot be created: %s', async (_where, path) => {
    await writeFile(join(dataDir, 'file'), '')
    await expect(open(path())).rejects.toThrow(/^Porthor cannot write to .*: set DATA_DIR to/)
  })

  it('a path that the OS user of the server cannot enter, and names the alternatives', async () => {
    await chmod(dataDir, 0o700)
    const path = join(dataDir, 'data')
    await mkdir(path)
    const somebody = { uid: 12_345, gid: 12_345 }
    expect(await findClosedDirectory(path, somebody)).toBe(dataDir)
    await chmod(dataDir, 0o711)
    await chmod(path, 0o701)
    expect(await findClosedDirectory(path, somebody)).toBe(undefined)
  })
})
