import type { Logger } from 'pino'
import type { Config } from './config/config.ts'
import { unsafeTokenKey } from './domain/token.ts'
import type { PrismaClient } from './generated/prisma/client.ts'
import type { Clock } from './lib/clock.ts'
import { RecentCheck } from './lib/recent-check.ts'
import { Authenticator } from './services/authentication/authenticator.ts'
import { RateLimitedAuthenticator } from './services/authentication/rate-limited-authenticator.ts'
import { SubjectAuthenticator } from './services/delegation/subject-authenticator.ts'
import { TokenCacheService } from './services/delegation/token-cache-service.ts'
import { AuditService } from './services/maintenance/audit-service.ts'
import { ClockCheck } from './services/maintenance/clock-check.ts'
import { EncryptionKeyCheck } from './services/maintenance/encryption-key-check.ts'
import { MaintenanceService } from './services/maintenance/maintenance-service.ts'
import { OrphanDetector } from './services/maintenance/orphan-detector.ts'
import { OrphanService } from './services/maintenance/orphan-service.ts'
import { UsageRecorder } from './services/maintenance/usage-recorder.ts'
import { TokenQueries } from './services/queries/token-queries.ts'
import type { Services } from './services/services.ts'
import { PendingChangeCompleter } from './services/tokens/pending-change-completer.ts'
import { RecordUpdater } from './services/tokens/record-updater.ts'
import { TokenIssuer } from './services/tokens/token-issuer.ts'
import { TokenModificationService } from './services/tokens/token-modification-service.ts'
import { TokenNames } from './services/tokens/token-names.ts'
import { TokenRevocationService } from './services/tokens/token-revocation-service.ts'
import { TokenService } from './services/tokens/token-service.ts'
import { WriteLimit } from './services/tokens/write-limit.ts'
import type { Broadcast } from './stores/broadcast/broadcast.ts'
import { AuditDatabase } from './stores/database/audit-database.ts'
import { HistoryListing } from './stores/database/history-listing.ts'
import { MaintenanceDatabase } from './stores/database/maintenance-database.ts'
import { OrphanDatabase } from './stores/database/orphan-database.ts'
import { PendingChangeDatabase } from './stores/database/pending-change-database.ts'
import { openPrisma } from './stores/database/prisma.ts'
import { RunsInUse } from './stores/database/runs-in-use.ts'
import { TokenDatabase } from './stores/database/token-database.ts'
import { TokenListing } from './stores/database/token-listing.ts'
import { assertRedisUsable } from './stores/redis/setup.ts'
import { openStoreProbe, type StoreHealth, type StoreProbe } from './stores/store-probe.ts'
import { openTokenStore } from './stores/token-store/open-token-store.ts'
import type { TokenStore } from './stores/token-store/token-store.ts'

/** What the caller of `openApp` provides. */
export interface AppDependencies {
  readonly clock: Clock
  readonly log: Logger
}

/** Everything that exists as long as the process. */
export interface App extends AppDependencies {
  readonly config: Config
  readonly prisma: PrismaClient
  readonly services: Services
  /** Whether the token store serves commands: a Redis may first have to agree with recent history. */
  readonly isStoreUsed: () => Promise<boolean>
  /** Returns what the stores made possible within the last second. May be called often. Does not reject. */
  readonly checkStores: () => Promise<StoreHealth>
  /** Closes every connection. Requests in progress must have ended. */
  readonly close: () => Promise<void>
}

/** The composition root: the only code that knows which store serves which service. */
export function openApp(config: Config, deps: AppDependencies): App {
  const { clock, log } = deps
  const prisma = openPrisma(config.databaseUrl.reveal(), log)
  const runs = new RunsInUse()
  const database = new TokenDatabase(prisma, runs)
  const {
    tokens,
    openBroadcast,
    close: closeStore,
  } = openTokenStore(config, prisma, { ...deps, runs }, (changed) => orphanDetector.onChange(changed))
  const broadcast = openBroadcast(() => services.tokenCache.clear())
  const orphanDatabase = new OrphanDatabase(prisma)
  const orphans = new OrphanService({ orphans: orphanDatabase, tokens, database, clock, log })
  const orphanDetector = new OrphanDetector({
    orphans,
    database: orphanDatabase,
    tokens,
    log,
    size: config.tokenCacheSize,
  })
  const stores = { ...deps, prisma, runs, database, tokens }
  const maintenanceDatabase = new MaintenanceDatabase(prisma, config.databaseUrl.reveal())
  const usage = new UsageRecorder({ database: maintenanceDatabase, clock, log })
  const authenticator = new Authenticator({ tokens, usage, bootstrapToken: config.bootstrapToken, log })
  const services: Services = {
    authenticator,
    limitedAuthenticator: new RateLimitedAuthenticator({
      authenticator,
      failuresPerMinute: config.authFailuresPerMinute,
      clock,
      log,
    }),
    subjects: new SubjectAuthenticator({ authenticator, rights: config.delegationRights }),
    ...createTokenServices(config, { ...stores, orphanDetector, broadcast }),
    queries: new TokenQueries({
      tokens: new TokenListing(prisma),
      history: new HistoryListing(prisma),
      log,
    }),
    usage,
    ...createMaintenanceServices(config, { ...stores, orphans, maintenanceDatabase }),
    knownScopes: config.knownScopes,
  }

  let probe: StoreProbe | undefined
  const readiness = new RecentCheck({
    check: async () => {
      probe ??= openStoreProbe(config, log)
      const [health, isReadable] = await Promise.all([probe.check(), isUsed(tokens)])
      return { ...health, tokens: health.tokens && isReadable, issuing: health.issuing && isReadable }
    },
    maxAgeMs: READINESS_MAX_AGE_MS,
  })

  return {
    config,
    prisma,
    services,
    clock,
    log,
    isStoreUsed: () => isUsed(tokens),
    checkStores: () => readiness.run(),
    close: async () => {
      await usage.flush()
      await orphanDetector.close()
      await probe?.close()
      await broadcast.close()
      await closeStore()
      await prisma.$disconnect()
    },
  }
}

interface Stores extends AppDependencies {
  readonly prisma: PrismaClient
  readonly runs: RunsInUse
  readonly database: TokenDatabase
  readonly tokens: TokenStore
}

type TokenServices = Pick<
  Services,
  'tokenCache' | 'tokens' | 'modification' | 'revocation' | 'pendingChanges'
>

/** Creates the services that issue, edit and revoke tokens. */
function createTokenServices(
  config: Config,
  deps: Stores & { readonly orphanDetector: OrphanDetector; readonly broadcast: Broadcast },
): TokenServices {
  const { prisma, runs, database, tokens, clock, log, orphanDetector, broadcast } = deps
  const {
    knownScopes,
    delegationLimits: limits,
    delegationRights: rights,
    delegatedTokensMayCreate: mayDelegatedTokensCreate,
  } = config
  const issuer = new TokenIssuer({ tokens, database, log })
  const names = new TokenNames({ tokens, database, clock, log })
  const pendingChanges = new PendingChangeCompleter({
    tokens,
    database,
    pending: new PendingChangeDatabase(prisma, runs),
    updater: new RecordUpdater({ tokens, database, clock }),
    clock,
    log,
  })
  // Not that of creations: a login service creates sessions with the token with which it revokes large trees.
  const writeLimit = new WriteLimit()
  return {
    tokenCache: new TokenCacheService({
      tokens,
      database,
      issuer,
      orphanDetector,
      broadcast,
      clock,
      log,
      knownScopes,
      limits,
      rights,
      delegatedLifetime: config.delegatedTokenLifetime,
      cacheSize: config.tokenCacheSize,
    }),
    tokens: new TokenService({
      tokens,
      issuer,
      names,
      clock,
      knownScopes,
      tokenLifetime: config.tokenLifetime,
      limits,
      mayDelegatedTokensCreate,
    }),
    modification: new TokenModificationService({
      tokens,
      database,
      pendingChanges,
      writeLimit,
      names,
      clock,
      log,
      knownScopes,
      mayDelegatedTokensCreate,
    }),
    revocation: new TokenRevocationService({ tokens, database, pendingChanges, writeLimit, clock, log }),
    pendingChanges,
  }
}

/** Creates the services that clean up, and compare the stores. */
function createMaintenanceServices(
  { historyRetention, knownScopes }: Config,
  deps: Stores & { readonly orphans: OrphanService; readonly maintenanceDatabase: MaintenanceDatabase },
): Pick<Services, 'maintenance' | 'audit' | 'encryptionKeys'> {
  const { prisma, database, tokens, clock, log, orphans, maintenanceDatabase } = deps
  const keys = new EncryptionKeyCheck({ tokens, clock, log })
  const clocks = new ClockCheck({ readSkew: () => maintenanceDatabase.readClockSkew(), log })
  return {
    maintenance: new MaintenanceService({
      database: maintenanceDatabase,
      tokens,
      orphans,
      clocks,
      clock,
      log,
      historyRetention,
    }),
    audit: new AuditService({
      tokens,
      database,
      audit: new AuditDatabase(prisma),
      keys,
      clocks,
      clock,
      knownScopes,
    }),
    encryptionKeys: keys,
  }
}

/**
 * Checks that the token store can be used. Passes if it is unavailable.
 *
 * @returns Whether it is known to be available.
 * @throws {RedisSetupError}
 */
export async function assertStoreUsable(
  { tokenStore, redisUrl }: Config,
  options: Parameters<typeof assertRedisUsable>[1] = {},
): Promise<boolean> {
  if (tokenStore !== 'redis' || !redisUrl) return false
  return assertRedisUsable(redisUrl.reveal(), options)
}

/** A key that no token has: each has 22 random characters. */
const NO_TOKEN = unsafeTokenKey('none')

const isUsed = (tokens: TokenStore): Promise<boolean> =>
  tokens.inspect([NO_TOKEN]).then(
    () => true,
    () => false,
  )

/** Time for which the outcome of a readiness check is reused, in milliseconds. */
const READINESS_MAX_AGE_MS = 1_000
