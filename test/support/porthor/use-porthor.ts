import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, onTestFinished } from 'vitest'
import { openApp } from '../../../src/app.ts'
import { type Environment, loadConfig } from '../../../src/config/config.ts'
import type { TokenData, TokenKey } from '../../../src/domain/token.ts'
import { TokenCacheService } from '../../../src/services/delegation/token-cache-service.ts'
import { TokenIssuer } from '../../../src/services/tokens/token-issuer.ts'
import { TokenDatabase } from '../../../src/stores/database/token-database.ts'
import type { TokenStore } from '../../../src/stores/token-store/token-store.ts'
import { waitForLocks } from '../stores/locks.ts'
import type { TestClock } from '../waiting/test-clock.ts'
import { editToken, makeParent, type ParentFacts } from './parent-token.ts'
import { type PlantedFacts, plant } from './planted-token.ts'
import { openPorthor, type Porthor, type StoreKind } from './porthor.ts'
import { openTokens, overriding } from './token-store.ts'

/** Least level of a log line that a test must expect: pino's `error`. */
const ERROR_LEVEL = 50

/** A Porthor in a test, with its log watched. */
export interface PorthorInTest {
  readonly h: Porthor
  readonly clock: TestClock
  /** Its token cache, called without HTTP. */
  readonly cache: TokenCacheService
  /** Its token store, over a connection of the test's own. */
  readonly tokens: TokenStore
  /** Puts a token into both stores, as another program leaves it; returns its bearer string. */
  plant(facts?: PlantedFacts): Promise<string>
  /** Creates a token of a user of its own, so that no test sees another's children. */
  parent(facts?: ParentFacts): Promise<TokenData>
  /** Changes a token in both stores, as an edit by an admin leaves it. */
  edit(token: TokenData, to: Pick<ParentFacts, 'scopes' | 'endsIn'>): Promise<TokenData>
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

export interface UseOptions {
  /**
   * Whether each test has a Porthor of its own. Otherwise all tests of the file or `describe` share one, and its clock:
   * a test may only move it forwards, and judges times by it.
   */
  readonly isFresh?: boolean
}

/** Opens a Porthor for the tests of a file or `describe`. A test in which something unexpected is logged fails. */
export function usePorthor(
  store: StoreKind,
  env: Environment = {},
  { isFresh = false }: UseOptions = {},
): PorthorInTest {
  let opened: { readonly h: Porthor; readonly tokens: TokenStore; close(): Promise<void> } | undefined
  let firstLine = 0
  let areErrorsExpected = false
  const open = async () => {
    const h = await openPorthor({ store, env })
    const { tokens, close } = openTokens(h, store)
    opened = {
      h,
      tokens,
      close: async () => {
        await close()
        await h.close()
      },
    }
  }
  const use = () => {
    if (!opened) throw new Error('a Porthor is open inside of tests only')
    return opened
  }
  const errors = () =>
    use()
      .h.logLines.slice(firstLine)
      .filter(({ level }) => level >= ERROR_LEVEL)
      .map(({ msg }) => msg)

  if (!isFresh) {
    beforeAll(open)
    afterAll(() => opened?.close())
  }
  beforeEach(async () => {
    if (isFresh) await open()
    firstLine = use().h.logLines.length
    areErrorsExpected = false
  })
  afterEach(async () => {
    const found = errors()
    if (isFresh) await use().close()
    if (!areErrorsExpected) expect(found).toEqual([])
  })

  return {
    get h() {
      return use().h
    },
    get clock() {
      return use().h.clock
    },
    get cache() {
      return use().h.context.services.tokenCache
    },
    get tokens() {
      return use().tokens
    },
    plant: (facts) => plant(use().h, store, facts),
    parent: (facts) => makeParent(use().h, facts),
    edit: (token, to) => editToken(use().h, use().tokens, token, to),
    children: async (parent) => {
      const rows = await use().h.sql<{ child: TokenKey }>('SELECT child FROM subtoken WHERE parent = $1', [
        parent.token.key,
      ])
      return rows.map(({ child }) => child)
    },
    anotherProcess: (changed = {}) => openAnother(use().h, changed),
    processOver: (wrap) => openOver(use().h, overriding(use().tokens, wrap(use().tokens))),
    connect: async () => {
      const client = new pg.Client(use().h.env.DATABASE_URL)
      client.on('error', () => undefined)
      await client.connect()
      onTestFinished(() => client.end())
      return client
    },
    alter: async (sql, undo) => {
      const { h } = use()
      onTestFinished(async () => {
        await h.sql(undo)
      })
      await h.sql(sql)
    },
    waiting: (count) => waitForLocks(use().h, count),
    errors,
    expectErrors: () => {
      areErrorsExpected = true
    },
  }
}

function openAnother({ env, clock, context }: Porthor, changed: Environment): TokenCacheService {
  const another = openApp(loadConfig({ ...env, ...changed }), { clock, log: context.log })
  onTestFinished(another.close)
  return another.services.tokenCache
}

function openOver({ context }: Porthor, tokens: TokenStore): TokenCacheService {
  const { config, prisma, clock, log } = context
  const database = new TokenDatabase(prisma)
  return new TokenCacheService({
    tokens,
    database,
    issuer: new TokenIssuer({ tokens, database, log }),
    orphanDetector: { watch: () => undefined, onChange: () => undefined },
    broadcast: { send: async () => undefined },
    clock,
    log,
    knownScopes: config.knownScopes,
    limits: config.delegationLimits,
    rights: config.delegationRights,
    delegatedLifetime: config.delegatedTokenLifetime,
    cacheSize: config.tokenCacheSize,
  })
}
