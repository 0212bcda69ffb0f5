import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, onTestFinished, vi } from 'vitest'
import { openApp } from '../../src/app.ts'
import { type Environment, loadConfig } from '../../src/config/config.ts'
import { formatScopes, toScopes } from '../../src/domain/scope.ts'
import { NO_USER_INFO, type TokenData, type TokenKey, type UserInfo } from '../../src/domain/token.ts'
import { Fernet } from '../../src/lib/fernet.ts'
import { TokenCacheService } from '../../src/services/delegation/token-cache-service.ts'
import { TokenIssuer } from '../../src/services/tokens/token-issuer.ts'
import { formatTimestamp } from '../../src/stores/database/timestamp.ts'
import { TokenDatabase } from '../../src/stores/database/token-database.ts'
import { EncryptedRecords } from '../../src/stores/token-store/encrypted-records.ts'
import { PostgresTokenStore } from '../../src/stores/token-store/postgres-token-store.ts'
import { RedisTokenStore } from '../../src/stores/token-store/redis-token-store.ts'
import type { TokenStore } from '../../src/stores/token-store/token-store.ts'
import { type Harness, openHarness, type StoreKind } from './harness.ts'
import type { TestClock } from './test-clock.ts'

/** Least level of a log line that a test must expect. */
const ERROR_LEVEL = 50

/** Life of a delegated token in these tests, in seconds, where neither its parent nor a test says otherwise. */
export const LIFE = 3_600

export const IP = '192.0.2.20'

export interface ParentFacts {
  readonly username?: string
  readonly scopes?: readonly string[]
  /** In seconds from now; `null` for a token that never ends. */
  readonly endsIn?: number | null
  readonly userInfo?: UserInfo
}

/** The heart of Porthor in one running process, and both of its stores. */
export interface Heart {
  readonly h: Harness
  readonly clock: TestClock
  readonly cache: TokenCacheService
  /** The very token store that the process uses, over a connection of the test's own. */
  readonly tokens: TokenStore
  /** A new token of a user of its own, so that no test sees another's children. */
  parent(facts?: ParentFacts): Promise<TokenData>
  /** Changes a token in both stores, as an edit by an admin leaves it. */
  edit(token: TokenData, to: { scopes?: readonly string[]; endsIn?: number | null }): Promise<TokenData>
  /** Keys of the rows whose parent is `parent`, in no order. */
  children(parent: TokenData): Promise<TokenKey[]>
  /** Another process on the same stores, with caches of its own. */
  anotherProcess(env?: Environment): TokenCacheService
  /** Another process, whose token store goes through `wrap`. */
  processOver(wrap: (tokens: TokenStore) => Partial<TokenStore>): TokenCacheService
  /** A connection to the database, for SQL that holds locks; ends with the test. */
  connect(): Promise<pg.Client>
  /** Runs SQL that changes the schema, and its undoing when the test ends. */
  alter(sql: string, undo: string): Promise<void>
  /** Resolves when this many connections to the database wait for a lock. */
  waiting(count: number): Promise<void>
  /** Messages of what this test has logged at level error. */
  errors(): string[]
  /** Says that the test means to cause an error in the log. */
  expectErrors(): void
}

/** One Porthor for all tests of a file: the fresh part of each test is its parent. */
export function useHeart(store: StoreKind, env: Environment = {}): Heart {
  let h: Harness
  let tokens: TokenStore
  let closeTokens: () => Promise<void>
  let firstLine = 0
  let areErrorsExpected = false
  const errors = () =>
    h.logLines
      .slice(firstLine)
      .filter(({ level }) => level >= ERROR_LEVEL)
      .map(({ msg }) => msg)

  beforeAll(async () => {
    h = await openHarness(store, { DELEGATED_TOKEN_LIFETIME: `${LIFE}s`, ...env })
    const opened = openTokens(h, store)
    tokens = opened.tokens
    closeTokens = opened.close
  })
  afterAll(async () => {
    await closeTokens()
    await h.close()
  })
  beforeEach(() => {
    firstLine = h.logLines.length
    areErrorsExpected = false
  })
  afterEach(() => {
    if (!areErrorsExpected) expect(errors()).toEqual([])
  })

  return {
    get h() {
      return h
    },
    get clock() {
      return h.clock
    },
    get cache() {
      return h.context.services.tokenCache
    },
    get tokens() {
      return tokens
    },
    errors,
    expectErrors: () => {
      areErrorsExpected = true
    },
    parent: (facts) => makeParent(h, facts),
    edit: async (token, { scopes = token.scopes, endsIn }) => {
      const edited = {
        ...token,
        scopes: toScopes(scopes),
        expiresAt: endsIn === undefined ? token.expiresAt : endOf(h, endsIn),
      }
      const expires = edited.expiresAt && formatTimestamp(edited.expiresAt)
      await h.sql('UPDATE token SET scopes = $2, expires = $3 WHERE token = $1', [
        token.token.key,
        formatScopes(edited.scopes),
        expires,
      ])
      await tokens.put(edited)
      return edited
    },
    children: async (parent) => {
      const rows = await h.sql<{ child: TokenKey }>('SELECT child FROM subtoken WHERE parent = $1', [
        parent.token.key,
      ])
      return rows.map(({ child }) => child)
    },
    anotherProcess: (changed = {}) => {
      const { clock, context } = h
      const another = openApp(loadConfig({ ...h.env, ...changed }), { clock, log: context.log })
      onTestFinished(another.close)
      return another.services.tokenCache
    },
    processOver: (wrap) => {
      const { config, prisma, clock, log } = h.context
      const wrapped = overriding(tokens, wrap(tokens))
      const database = new TokenDatabase(prisma)
      return new TokenCacheService({
        tokens: wrapped,
        database,
        issuer: new TokenIssuer({ tokens: wrapped, database, log }),
        orphanDetector: { watch: () => undefined, onChange: () => undefined },
        broadcast: { send: async () => undefined },
        clock,
        log,
        knownScopes: config.knownScopes,
        limits: config.delegationLimits,
        delegatedLifetime: config.delegatedTokenLifetime,
        cacheSize: config.tokenCacheSize,
      })
    },
    connect: async () => {
      const client = new pg.Client(h.env.DATABASE_URL)
      client.on('error', () => undefined)
      await client.connect()
      onTestFinished(() => client.end())
      return client
    },
    alter: async (sql, undo) => {
      onTestFinished(async () => {
        await h.sql(undo)
      })
      await h.sql(sql)
    },
    waiting: (count) => waitForLocks(h, count),
  }
}

function openTokens(
  { env, context, clock }: Harness,
  store: StoreKind,
): { readonly tokens: TokenStore; readonly close: () => Promise<void> } {
  const fernet = new Fernet((env.SESSION_SECRET ?? '').split(','))
  const records = new EncryptedRecords({ fernet, clock, log: context.log })
  if (store === 'redis') {
    const redis = new Redis(env.REDIS_URL ?? '')
    return {
      tokens: new RedisTokenStore({ redis, records, clock }),
      close: async () => redis.disconnect(),
    }
  }
  const pool = new pg.Pool({ connectionString: env.DATABASE_URL, max: 2 })
  pool.on('error', () => undefined)
  return { tokens: new PostgresTokenStore({ pool, records, clock }), close: () => pool.end() }
}

/** `tokens` with some methods of another making. */
export const overriding = (tokens: TokenStore, changed: Partial<TokenStore>): TokenStore =>
  new Proxy(tokens, {
    get: (target, name) => {
      const value: unknown = Reflect.get(changed, name) ?? Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })

const endOf = ({ clock }: Harness, endsIn: number | null): Date | null =>
  endsIn === null ? null : new Date(Math.floor(clock.now().getTime() / 1000 + endsIn) * 1000)

/** A user token: the kind of parent that may end at any time, or never. */
function makeParent(h: Harness, facts: ParentFacts = {}): Promise<TokenData> {
  const {
    username = `user-${randomUUID()}`,
    scopes = ['read:all', 'read:tap'],
    endsIn = 30 * 24 * LIFE,
    userInfo = NO_USER_INFO,
  } = facts
  return h.context.services.tokens.createUser(
    { actor: { kind: 'bootstrap' }, ipAddress: null },
    { username, tokenName: randomUUID(), scopes, expiresAt: endOf(h, endsIn), userInfo },
  )
}

/** Resolves when `count` connections to the harness's database wait for a lock of any kind. */
export function waitForLocks({ sql }: Pick<Harness, 'sql'>, count: number): Promise<void> {
  return vi.waitFor(
    async () => {
      const waiting = await sql(
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      )
      expect(waiting).toHaveLength(count)
    },
    { timeout: 4_000, interval: 10 },
  )
}

/** A token store that passes everything on, and notes the key of every token that is put. */
export const notingPuts =
  (puts: TokenKey[]) =>
  (tokens: TokenStore): Pick<TokenStore, 'put'> => ({
    put: (data) => {
      puts.push(data.token.key)
      return tokens.put(data)
    },
  })
