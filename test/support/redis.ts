import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'

export interface RedisProcess {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Ends it in an orderly way, paused or not; nothing is saved. Can be called again. */
  stop(): Promise<void>
  /** Ends it as a crash would. */
  kill(): Promise<void>
  /** Leaves its connections open and answers nothing, until `resume`. */
  pause(): void
  resume(): void
}

/** How long a Redis may take until it answers, in milliseconds. */
const READY_TIMEOUT_MS = 10_000

/**
 * Starts a private Redis on 127.0.0.1 that keeps nothing on disk.
 *
 * @param options.port For one that comes back where another was. Default: a free one.
 * @param options.args Further arguments of `redis-server`, such as `--maxmemory 2mb`.
 */
export async function startRedis(
  options: { readonly port?: number; readonly args?: readonly string[] } = {},
): Promise<RedisProcess> {
  const port = options.port ?? (await findFreePort())
  const nothingOnDisk = ['--save', '', '--appendonly', 'no', '--dir', tmpdir()]
  const child = spawn(
    'redis-server',
    ['--port', String(port), '--bind', '127.0.0.1', ...nothingOnDisk, ...(options.args ?? [])],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
  }
  const ended = once(child, 'exit').catch((error: unknown) => {
    said += `${error}: these tests need a redis-server program on the PATH`
  })
  const atExit = () => child.kill('SIGKILL')
  process.once('exit', atExit)
  ended.then(() => process.off('exit', atExit))

  const end = async (signal: NodeJS.Signals) => {
    if (!hasEnded(child)) child.kill(signal)
    child.kill('SIGCONT')
    await ended
  }
  await waitUntilReady(port, child, () => said)
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    pid: child.pid ?? 0,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    pause: () => child.kill('SIGSTOP'),
    resume: () => child.kill('SIGCONT'),
  }
}

const hasEnded = (child: ChildProcess): boolean =>
  child.pid === undefined || child.exitCode !== null || child.signalCode !== null

async function waitUntilReady(port: number, child: ChildProcess, said: () => string): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT_MS
  while (!(await answers(port))) {
    await delay(5)
    if (hasEnded(child)) throw new Error(`redis-server ended while starting: ${said()}`)
    if (Date.now() > deadline) throw new Error(`redis-server does not answer on port ${port}: ${said()}`)
  }
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    socket.write('PING\r\n')
    const [reply] = (await once(socket, 'data')) as [Buffer]
    return reply.toString().startsWith('+PONG')
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port')
  return address.port
}
