import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import pg from 'pg'
import { pino } from 'pino'
import { type Environment, loadConfig } from '../src/config.ts'
import { formatToken, generateToken } from '../src/domain/token.ts'
import { systemClock } from '../src/lib/clock.ts'
import { Fernet, generateFernetKey } from '../src/lib/fernet.ts'
import { PostgresTokenStore } from '../src/stores/postgres-token-store.ts'
import { RedisTokenStore } from '../src/stores/redis-token-store.ts'
import { SealedRecords } from '../src/stores/sealed-record.ts'
import type { TokenStore } from '../src/stores/token-store.ts'

/** Settings that a server needs beside its stores. */
export const newSecrets = (): Record<'SESSION_SECRET' | 'BOOTSTRAP_TOKEN', string> => ({
  SESSION_SECRET: generateFernetKey(),
  BOOTSTRAP_TOKEN: formatToken(generateToken()),
})

export interface Server {
  /** The data of a GraphQL answer. */
  ask<T>(query: string, token: string, variables?: object): Promise<T>
  stop(): Promise<void>
}

/** Starts `porthor serve` in a process of its own. */
export async function startServer(env: Environment): Promise<Server> {
  const child: ChildProcess = spawn(process.execPath, ['--import', 'tsx', 'src/main.ts', 'serve'], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    env: { PATH: process.env.PATH, NODE_ENV: 'production', HOST: '127.0.0.1', PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  const url = await new Promise<string>((resolve, reject) => {
    exited.then(() => reject(new Error('the server ended')))
    if (!child.stdout) return reject(new Error('the server has no output'))
    createInterface(child.stdout).on('line', (line) => {
      if (line.includes('"msg":"listening"')) resolve(JSON.parse(line).url)
    })
  })
  const agent = new Agent({ keepAlive: true })
  return {
    ask: (query, token, variables) => ask(url, agent, token, JSON.stringify({ query, variables })),
    stop: async () => {
      agent.destroy()
      child.kill('SIGTERM')
      await exited
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
  if (errors) throw new Error(text)
  return data
}

/** The stores that a server with this environment has, to be filled behind its back. */
export function openStores(env: Environment): {
  readonly pool: pg.Pool
  readonly tokens: TokenStore
  readonly close: () => Promise<void>
} {
  const { sessionSecrets, tokenStore, redisUrl, databaseUrl } = loadConfig(env)
  const pool = new pg.Pool({ connectionString: databaseUrl.reveal(), max: 10 })
  const clock = systemClock
  const fernet = new Fernet(sessionSecrets.reveal())
  const records = new SealedRecords({ fernet, clock, log: pino({ level: 'warn' }) })
  if (tokenStore === 'postgres' || !redisUrl) {
    return { pool, tokens: new PostgresTokenStore({ pool, records, clock }), close: () => pool.end() }
  }
  const redis = new Redis(redisUrl.reveal())
  const close = async () => {
    redis.disconnect()
    await pool.end()
  }
  return { pool, tokens: new RedisTokenStore({ redis, records, clock }), close }
}
