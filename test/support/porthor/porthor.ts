import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import pg from 'pg'
import { expect } from 'vitest'
import { type App, openApp } from '../../../src/app.ts'
import { type Environment, loadConfig } from '../../../src/config/config.ts'
import { formatToken, generateToken, parseToken, type TokenData } from '../../../src/domain/token.ts'
import { authServerOptions, createAuthServer } from '../../../src/http/forward-auth/auth-server.ts'
import { Monitoring } from '../../../src/http/monitoring.ts'
import { closeServer, createServer } from '../../../src/http/server.ts'
import type { Clock } from '../../../src/lib/clock.ts'
import { generateFernetKey } from '../../../src/lib/fernet.ts'
import { createLogger } from '../../../src/lib/logger.ts'
import { type AskOptions, askGraphQL, askUntilAvailable, type GraphQLAnswer } from '../requests/graphql.ts'
import { freshDatabase, freshRedis } from '../stores/stores.ts'
import { TestClock } from '../waiting/test-clock.ts'

export type StoreKind = 'redis' | 'postgres'

/** A line of the log as it was written. */
export type LogLine = { readonly level: number; readonly msg: string } & Readonly<Record<string, unknown>>

export interface PorthorOptions {
  /** The token store, of stores of its own. */
  readonly store?: StoreKind
  /** Settings that differ from those of tests; all settings where `isOnGivenStores`. */
  readonly env?: Environment
  /** Default: a clock that the test moves. */
  readonly clock?: Clock
  /** Whether it uses the stores that `env` names, with others. It then leaves them, and its clients, as a crash would. */
  readonly isOnGivenStores?: boolean
}

/** A Porthor that runs in this process, on real stores, and what a test wants to do with it. */
export interface Porthor<C extends Clock = TestClock> {
  readonly clock: C
  readonly env: Environment
  readonly context: App
  /** Where it answers GraphQL. */
  readonly url: string
  /** Where it answers gateways, with a slash at the end; where `AUTH_PORT` is set. */
  readonly authUrl: string
  readonly bootstrapToken: string
  /** Every line logged so far. */
  readonly logLines: LogLine[]
  /** SQL straight to the database. */
  readonly sql: <T extends pg.QueryResultRow>(text: string, values?: unknown[]) => Promise<T[]>
  /** Straight to the worker's Redis. */
  readonly redis: Redis
  readonly ask: (query: string, options?: AskOptions) => Promise<GraphQLAnswer>
  /** Creates a session with the bootstrap token; returns its bearer string. */
  readonly session: (username?: string, scopes?: readonly string[]) => Promise<string>
  /** What the token store holds under a bearer string's key. */
  readonly stored: (bearer: string) => Promise<TokenData>
  /** Closes this one, and opens another on the same stores, with changed settings if any. */
  readonly restart: (env?: Environment) => Promise<void>
  readonly close: () => Promise<void>
}

const SECRETS = { SESSION_SECRET: generateFernetKey(), BOOTSTRAP_TOKEN: formatToken(generateToken()) }

const CREATE_SESSION =
  'mutation ($input: CreateSessionTokenInput!) { createSessionToken(input: $input) { token } }'

/** Opens a Porthor as `serve` does, in this process. It and its stores must be closed. */
export function openPorthor(options: PorthorOptions & { readonly clock?: TestClock }): Promise<Porthor>
export function openPorthor(options: PorthorOptions): Promise<Porthor<Clock>>
export async function openPorthor({
  store = 'redis',
  env = {},
  clock = new TestClock(),
  isOnGivenStores = false,
}: PorthorOptions): Promise<Porthor<Clock>> {
  const own = isOnGivenStores ? undefined : await openStores(store, env)
  const settings = own?.settings ?? env
  const pool = new pg.Pool({ connectionString: settings.DATABASE_URL, max: 2 })
  // Dropping the database may reach a connection that has not quite ended.
  pool.on('error', () => undefined)
  const redis = own && new Redis(own.redisUrl)
  const logLines: LogLine[] = []
  const log = createLogger('info', { write: (line: string) => void logLines.push(JSON.parse(line)) })

  const start = async (startEnv: Environment) => {
    const context = openApp(loadConfig(startEnv), { clock, log })
    const monitoring = new Monitoring(context)
    const server = createServer(context, {}, monitoring)
    const authOptions = authServerOptions(context.config)
    const authServer = authOptions && createAuthServer(context, monitoring.metrics, authOptions)
    const servers = authServer ? [server, authServer] : [server]
    const stop = async () => {
      const closed = servers.map(closeServer)
      for (const each of servers) {
        if (isOnGivenStores) each.closeAllConnections()
        // `fetch` keeps its connections, and has no request on its way: they need no grace.
        else each.closeIdleConnections()
      }
      await Promise.all(closed)
      await context.close()
    }
    const url = `${await listen(server)}graphql`
    return { context, url, authUrl: authServer ? await listen(authServer) : '', stop }
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
    get authUrl() {
      return running.authUrl
    },
    bootstrapToken: settings.BOOTSTRAP_TOKEN ?? '',
    logLines,
    sql: async (text, values) => (await pool.query(text, values)).rows,
    get redis() {
      if (!redis) throw new Error('a test has its own way to a Redis that it gives')
      return redis
    },
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
      redis?.disconnect()
      await pool.end()
      await own?.drop()
    },
  }
}

/** Returns where the server listens, with a slash at the end. */
async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

/** A database of its own and the worker's Redis, emptied. */
async function openStores(
  store: StoreKind,
  env: Environment,
): Promise<{
  readonly settings: Environment
  readonly redisUrl: string
  readonly drop: () => Promise<void>
}> {
  const database = await freshDatabase()
  const { url } = await freshRedis()
  const settings = {
    ...SECRETS,
    DATABASE_URL: database.url,
    ...(store === 'redis' && { REDIS_URL: url }),
    PORT: '0',
    LOG_LEVEL: 'info',
    // Tests reach into Redis, of which word takes a moment to arrive: those of the client-side cache turn it on.
    CLIENT_SIDE_CACHE: 'false',
    ...env,
  }
  return { settings, redisUrl: url, drop: database.drop }
}
