import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { Redis } from 'ioredis'
import { until } from '../waiting/until.ts'

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
 * Starts a private Redis on 127.0.0.1 that saves nothing by itself.
 *
 * @param options.port For one that comes back where another was. Default: a free one.
 * @param options.dir Folder of which it loads what the Redis before it has saved there. Default: it begins empty.
 * @param options.args Further arguments of `redis-server`, such as `--maxmemory 2mb`.
 */
export async function startRedis(
  options: { readonly port?: number; readonly dir?: string; readonly args?: readonly string[] } = {},
): Promise<RedisProcess> {
  const port = options.port ?? (await findFreePort())
  // In the shared folder under a name of its own: it would load what another Redis has left there.
  const files =
    options.dir === undefined
      ? ['--dir', tmpdir(), '--dbfilename', `porthor-${randomUUID()}.rdb`]
      : ['--dir', options.dir]
  return startRedisServer(port, [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    ...['--save', '', '--appendonly', 'no'],
    ...files,
    ...(options.args ?? []),
  ])
}

/** Those that must not outlive the tests, whatever ends these. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Starts `redis-server` with just `args`, which have it listen on `port`. */
export async function startRedisServer(port: number, args: readonly string[]): Promise<RedisProcess> {
  const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
  }
  const ended = once(child, 'exit').catch((error: unknown) => {
    said += `${error}: these tests need a redis-server program on the PATH`
  })
  running.add(child)
  ended.then(() => running.delete(child))

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
  const isReady = async () => {
    if (hasEnded(child)) throw new Error(`redis-server ended while starting: ${said()}`)
    return answers(port)
  }
  const describe = () => `redis-server does not answer on port ${port}: ${said()}`
  await until(isReady, { timeoutMs: READY_TIMEOUT_MS, describe })
}

/** How long a Redis that has started may take for one answer, in milliseconds. */
const ANSWER_TIMEOUT_MS = 2_000

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS)
  try {
    await once(socket, 'connect', { signal })
    socket.write('PING\r\n')
    const [reply] = (await once(socket, 'data', { signal })) as [Buffer]
    return reply.toString().startsWith('+PONG')
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/** Asks the server on `port`, on a connection for this once. */
export async function onServer<T>(port: number, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(port, '127.0.0.1', {
    retryStrategy: null,
    maxRetriesPerRequest: 0,
    commandTimeout: ANSWER_TIMEOUT_MS,
  })
  redis.on('error', () => undefined)
  try {
    return await work(redis)
  } finally {
    redis.disconnect()
  }
}

/** Resolves when `replica` has all that `master` has now. */
export async function untilReplicated(master: RedisProcess, replica: RedisProcess): Promise<void> {
  const offset = async ({ port }: RedisProcess, name: string): Promise<number> => {
    const info = await onServer(port, (redis) => redis.info('replication'))
    return Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? Number.NaN)
  }
  const goal = await offset(master, 'master_repl_offset')
  await until(async () => (await offset(replica, 'slave_repl_offset')) >= goal, {
    timeoutMs: READY_TIMEOUT_MS,
    describe: () => `the replica on port ${replica.port} does not catch up`,
  })
}

/** Ports below those that systems give to outgoing connections, any of which could be taken meanwhile. */
const [LOWEST_PORT, HIGHEST_PORT] = [20_000, 32_000]

const givenOut = new Set<number>()

/** One that nobody listens on now, and that nobody here was given before. */
export async function findFreePort(): Promise<number> {
  for (;;) {
    const port = randomInt(LOWEST_PORT, HIGHEST_PORT)
    if (givenOut.has(port)) continue
    givenOut.add(port)
    const probe = createServer().listen(port, '127.0.0.1')
    const isFree = await once(probe, 'listening').then(
      () => true,
      () => false,
    )
    if (!isFree) continue
    probe.close()
    await once(probe, 'close')
    return port
  }
}
