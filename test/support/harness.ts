import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import pg from 'pg'
import { afterEach, beforeEach, expect } from 'vitest'
import { type App, openApp } from '../../src/app.ts'
import { type Environment, loadConfig } from '../../src/config/config.ts'
import { formatToken, generateToken, parseToken, type TokenData } from '../../src/domain/token.ts'
import { closeServer, createServer } from '../../src/http/server.ts'
import { generateFernetKey } from '../../src/lib/fernet.ts'
import { createLogger } from '../../src/lib/logger.ts'
import { freshDatabase, freshRedis } from './stores.ts'
import { TestClock } from './test-clock.ts'

export type StoreKind = 'redis' | 'postgres'

/** A line of the log as it was written. */
export type LogLine = { readonly level: number; readonly msg: string } & Readonly<Record<string, unknown>>

export interface GraphQLAnswer {
  readonly status: number
  readonly headers: Headers
  readonly data: Record<string, unknown> | null | undefined
  readonly errors: readonly { readonly message: string; readonly extensions: Record<string, unknown> }[]
  /** `extensions.code` of the first error. */
  readonly code: unknown
}

export interface AskOptions {
  readonly token?: string
  readonly variables?: Record<string, unknown>
  readonly headers?: Record<string, string>
}

/** One running Porthor on real stores of its own, and what a test wants to do with it. */
export interface Harness {
  readonly clock: TestClock
  readonly env: Environment
  readonly context: App
  /** Where it answers GraphQL. */
  readonly url: string
  readonly bootstrapToken: string
  /** Every line logged so far. */
  readonly logLines: LogLine[]
  /** SQL straight to the database. */
  readonly sql: <T extends pg.QueryResultRow>(text: string, values?: unknown[]) => Promise<T[]>
  /** Straight to Redis; only where the token store is Redis. */
  readonly redis: Redis
  readonly ask: (query: string, options?: AskOptions) => Promise<GraphQLAnswer>
  /** A session, made by the bootstrap token; answers with its bearer string. */
  readonly session: (username?: string, scopes?: readonly string[]) => Promise<string>
  /** What the token store holds under a bearer string's key. */
  readonly stored: (bearer: string) => Promise<TokenData>
  /** Closes this process, and opens another on the same stores, with changed settings if any. */
  readonly restart: (env?: Environment) => Promise<void>
  readonly close: () => Promise<void>
}

const SECRETS = { SESSION_SECRET: generateFernetKey(), BOOTSTRAP_TOKEN: formatToken(generateToken()) }

/** Level of pino's `error` lines. */
const ERROR_LEVEL = 50

const CREATE_SESSION =
  'mutation ($input: CreateSessionTokenInput!) { createSessionToken(input: $input) { token } }'

/** Asks the server at `url` over HTTP. */
export async function askGraphQL(
  url: string,
  query: string,
  { token, variables, headers }: AskOptions = {},
): Promise<GraphQLAnswer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(token !== undefined && { Authorization: `Bearer ${token}` }),
      ...headers,
    },
    body: JSON.stringify({ query, variables }),
  })
  const { data, errors = [] } = (await response.json()) as Partial<GraphQLAnswer>
  return {
    status: response.status,
    headers: response.headers,
    data,
    errors,
    code: errors[0]?.extensions.code,
  }
}

/**
 * Asks again, as clients should, while the answer is that it can be repeated: on a busy machine the first connections
 * may take longer than a request waits for one. For what prepares a test, and not for what it tests.
 */
export async function askUntilAvailable(ask: () => Promise<GraphQLAnswer>): Promise<GraphQLAnswer> {
  let answer = await ask()
  for (let times = 0; times < 5 && answer.code === 'UNAVAILABLE'; times += 1) answer = await ask()
  return answer
}

/** Starts Porthor as `serve` does, on a database of its own and the worker's Redis, emptied. */
export async function openHarness(
  store: StoreKind,
  env: Environment = {},
  clock = new TestClock(),
): Promise<Harness> {
  const database = await freshDatabase()
  const { url: redisUrl } = await freshRedis()
  const settings: Environment = {
    ...SECRETS,
    DATABASE_URL: database.url,
    ...(store === 'redis' && { REDIS_URL: redisUrl }),
    PORT: '0',
    LOG_LEVEL: 'info',
    // Tests reach into Redis, of which word takes a moment to arrive: those of the copies turn them on.
    CLIENT_SIDE_CACHE: 'false',
    ...env,
  }
  const pool = new pg.Pool({ connectionString: database.url, max: 2 })
  // Dropping the database may reach a connection that has not quite ended.
  pool.on('error', () => undefined)
  const redis = new Redis(redisUrl)
  const logLines: LogLine[] = []
  const log = createLogger('info', { write: (line: string) => void logLines.push(JSON.parse(line)) })

  const start = async (startEnv: Environment) => {
    const context = openApp(loadConfig(startEnv), { clock, log })
    const server = createServer(context)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const stop = async () => {
      const closed = closeServer(server)
      // `fetch` keeps its connections, and has no request on its way: they need no grace.
      server.closeIdleConnections()
      await closed
      await context.close()
    }
    return { context, url: `http://127.0.0.1:${port}/graphql`, stop }
  }
  let running = await start(settings)

  const ask = (query: string, options?: AskOptions) => askGraphQL(running.url, query, options)

  return {
    clock,
    env: settings,
    get context() {
      return running.context
    },
    get url() {
      return running.url
    },
    bootstrapToken: settings.BOOTSTRAP_TOKEN ?? '',
    logLines,
    sql: async (text, values) => (await pool.query(text, values)).rows,
    redis,
    ask,
    session: async (username = 'wren', scopes = ['user:token', 'read:all', 'exec:notebook']) => {
      const token = settings.BOOTSTRAP_TOKEN ?? ''
      const options = { token, variables: { input: { username, scopes } } }
      const { data, errors } = await askUntilAvailable(() => ask(CREATE_SESSION, options))
      expect(errors).toEqual([])
      return (data as { createSessionToken: { token: string } }).createSessionToken.token
    },
    stored: async (bearer) => {
      const actor = await running.context.services.authenticator.authenticate(bearer)
      if (actor.kind !== 'token') throw new Error(`no token is stored under ${parseToken(bearer).key}`)
      return actor.data
    },
    restart: async (changed = {}) => {
      await running.stop()
      running = await start({ ...settings, ...changed })
    },
    close: async () => {
      await running.stop()
      redis.disconnect()
      await pool.end()
      await database.drop()
    },
  }
}

/**
 * A fresh harness for each test. A test in which something unexpected was logged fails, unless it says
 * with `expectErrors` that it meant to.
 */
export function useHarness(
  store: StoreKind,
  env: Environment = {},
): { readonly h: Harness; expectErrors(): void } {
  let harness: Harness | undefined
  let areErrorsExpected = false
  beforeEach(async () => {
    areErrorsExpected = false
    harness = await openHarness(store, env)
  })
  afterEach(async () => {
    const errors = harness?.logLines.filter(({ level }) => level >= ERROR_LEVEL)
    await harness?.close()
    if (!areErrorsExpected) expect(errors).toEqual([])
  })
  return {
    get h() {
      if (!harness) throw new Error('the harness is open inside of tests only')
      return harness
    },
    expectErrors: () => {
      areErrorsExpected = true
    },
  }
}
