import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import pg from 'pg'
import { pino } from 'pino'
import { type Environment, loadConfig } from '../src/config/config.ts'
import { formatToken, generateToken } from '../src/domain/token.ts'
import { systemClock } from '../src/lib/clock.ts'
import { generateFernetKey } from '../src/lib/fernet.ts'
import { EncryptedRecords } from '../src/stores/token-store/encrypted-records.ts'
import { PostgresTokenStore } from '../src/stores/token-store/postgres-token-store.ts'
import { RedisTokenStore } from '../src/stores/token-store/redis-token-store.ts'
import type { TokenStore } from '../src/stores/token-store/token-store.ts'

/** Returns the secrets that a server needs. */
export const newSecrets = (): Record<'SESSION_SECRET' | 'BOOTSTRAP_TOKEN', string> => ({
  SESSION_SECRET: generateFernetKey(),
  BOOTSTRAP_TOKEN: formatToken(generateToken()),
})

/** A GraphQL response with errors: its text, and the code of the first error. */
export class AskError extends Error {
  readonly code: unknown

  constructor(text: string, code: unknown) {
    super(text)
    this.code = code
  }
}

export interface Server {
  readonly pid: number
  /** Returns the data of a GraphQL response. @throws {AskError} */
  ask<T>(query: string, token: string, variables?: object): Promise<T>
  /** Returns the response at `path`, such as `/metrics`. */
  read(path: string): Promise<string>
  stop(): Promise<void>
}

/** A server in its own process. */
export interface Program {
  readonly pid: number
  readonly url: string
  /** Where gateways ask, if they may. */
  readonly authUrl: string
  /** Time from the start of the process until it listens, in milliseconds. */
  readonly startMs: number
  stop(): Promise<void>
}

/** Time between two checks that a server listens, in milliseconds. */
const CHECK_INTERVAL_MS = 5

/**
 * Starts `node` with these arguments in the root of the project, and waits until it logs `listening`. Its output goes to
 * a file: reading a pipe would slow down the measuring process.
 */
export async function startProgram(args: readonly string[], env: Environment = {}): Promise<Program> {
  const directory = await mkdtemp(join(tmpdir(), 'porthor-bench-log-'))
  const output = await open(join(directory, 'output'), 'a+')
  const startedAt = systemClock.monotonicMs()
  const child = spawn(process.execPath, args, {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', output.fd, 'inherit'],
  })
  const atExit = () => child.kill()
  process.once('exit', atExit)
  const exited = once(child, 'exit').finally(async () => {
    process.off('exit', atExit)
    await output.close()
    await rm(directory, { recursive: true })
  })
  let line: string | undefined
  while (line === undefined) {
    if (child.exitCode !== null) throw new Error(`${args.join(' ')}: the server ended`)
    await delay(CHECK_INTERVAL_MS)
    const printed = await readFile(join(directory, 'output'), 'utf8').catch(() => '')
    line = printed.split('\n').find((each) => each.endsWith('}') && each.includes('"msg":"listening"'))
  }
  const { url, authUrl = '' } = JSON.parse(line)
  return {
    pid: child.pid ?? 0,
    url,
    authUrl,
    startMs: systemClock.monotonicMs() - startedAt,
    stop: async () => {
      child.kill('SIGTERM')
      await exited
    },
  }
}

/** Production on this machine, without the pause before a stop, which proxies need. */
export const PRODUCTION: Environment = { NODE_ENV: 'production', HOST: '127.0.0.1', SHUTDOWN_DELAY: '0s' }

/** Starts the built `porthor serve`. */
export async function startServer(env: Environment): Promise<Server & Program> {
  const production = { ...PRODUCTION, PORT: '0', ...env }
  const program = await startProgram(['dist/main.js', 'serve'], production)
  const agent = new Agent({ keepAlive: true })
  return {
    ...program,
    read: async (path) => (await fetch(new URL(path, program.url))).text(),
    ask: (query, token, variables) => ask(program.url, agent, token, JSON.stringify({ query, variables })),
    stop: async () => {
      agent.destroy()
      await program.stop()
    },
  }
}

async function ask<T>(url: string, agent: Agent, token: string, body: string): Promise<T> {
  const headers = {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    Authorization: `Bearer ${token}`,
  }
  const sent = request(url, { method: 'POST', agent, headers }).end(body)
  const [response] = await once(sent, 'response')
  let text = ''
  for await (const chunk of response) text += chunk
  const { data, errors } = JSON.parse(text)
  if (errors) throw new AskError(text, errors[0]?.extensions?.code)
  return data
}

/** Opens the stores of a server with this environment, to fill them directly. */
export function openStores(env: Environment): {
  readonly pool: pg.Pool
  readonly tokens: TokenStore
  readonly close: () => Promise<void>
} {
  const { encryption, tokenStore } = loadConfig(env)
  const pool = new pg.Pool({ connectionString: env.DATABASE_URL, max: 10 })
  const clock = systemClock
  const records = new EncryptedRecords({ fernet: encryption, clock, log: pino({ level: 'warn' }) })
  if (tokenStore === 'postgres') {
    return { pool, tokens: new PostgresTokenStore({ pool, records, clock }), close: () => pool.end() }
  }
  const redis = new Redis(env.REDIS_URL ?? '')
  const close = async () => {
    redis.disconnect()
    await pool.end()
  }
  return { pool, tokens: new RedisTokenStore({ redis, records, clock }), close }
}
