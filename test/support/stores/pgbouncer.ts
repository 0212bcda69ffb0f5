import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { choosePostgresUser } from '../../../src/embedded-postgres/os-user.ts'
import { until } from '../waiting/until.ts'
import { findFreePort } from './redis.ts'

export interface PgBouncer {
  /** `url` by way of this pooler. */
  through(url: string): string
  stop(): Promise<void>
}

/** How long it may take until it accepts connections, in milliseconds. */
const READY_TIMEOUT_MS = 10_000

/** Debian keeps it where the PATH of an ordinary user does not lead. */
const PATH = `${process.env.PATH}:/usr/local/sbin:/usr/sbin`

/** Those that must not outlive the tests, whatever ends these. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/**
 * Starts a PgBouncer on 127.0.0.1 in front of the server that `postgresUrl` names, for all of its databases. What
 * `settings` do not name is as it comes.
 */
export async function startPgBouncer(
  postgresUrl: string,
  settings: { readonly pool_mode: 'session' | 'transaction' } & Readonly<Record<string, string | number>>,
): Promise<PgBouncer> {
  const { hostname, port: postgresPort, username, password } = new URL(postgresUrl)
  const port = await findFreePort()
  const directory = await mkdtemp(join(tmpdir(), 'porthor-pgbouncer-'))
  const file = join(directory, 'pgbouncer.ini')
  const lines = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'any',
    default_pool_size: 80,
    ...settings,
  }
  await writeFile(
    file,
    `[databases]
* = host=${hostname} port=${postgresPort} user=${decodeURIComponent(username)} password='${decodeURIComponent(password)}'
[pgbouncer]
${Object.entries(lines)
  .map(([name, value]) => `${name} = ${value}`)
  .join('\n')}
`,
    { mode: 0o600 },
  )
  // It does not run as root; PostgreSQL does not either, and has a user for that.
  const user = await choosePostgresUser(directory)
  if (user.uid !== undefined) {
    for (const path of [directory, file]) await chown(path, user.uid, user.gid)
  }
  await chmod(directory, 0o700)

  const child = spawn('pgbouncer', [file], {
    cwd: '/',
    env: { PATH },
    ...user,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  const ended = once(child, 'exit').catch((error: unknown) => {
    said += `${error}: these tests need a pgbouncer program`
  })
  running.add(child)
  ended.then(() => running.delete(child))
  const stop = async () => {
    child.kill('SIGKILL')
    await ended
    await rm(directory, { recursive: true, force: true })
  }
  const isReady = async () => {
    if (!running.has(child)) throw new Error(`pgbouncer ended while starting: ${said}`)
    return accepts(port)
  }
  const describe = () => `pgbouncer does not accept connections: ${said}`
  await until(isReady, { timeoutMs: READY_TIMEOUT_MS, describe }).catch(async (error: unknown) => {
    await stop()
    throw error
  })
  return {
    through: (original) => {
      const own = new URL(original)
      own.hostname = '127.0.0.1'
      own.port = String(port)
      return own.href
    },
    stop,
  }
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
