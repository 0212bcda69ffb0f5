import type { KnownScopes } from '../domain/scope.ts'
import type { Authenticator } from './authentication/authenticator.ts'
import type { RateLimitedAuthenticator } from './authentication/rate-limited-authenticator.ts'
import type { SubjectAuthenticator } from './delegation/subject-authenticator.ts'
import type { TokenCacheService } from './delegation/token-cache-service.ts'
import type { AuditService } from './maintenance/audit-service.ts'
import type { EncryptionKeyCheck } from './maintenance/encryption-key-check.ts'
import type { MaintenanceService } from './maintenance/maintenance-service.ts'
import type { UsageRecorder } from './maintenance/usage-recorder.ts'
import type { TokenQueries } from './queries/token-queries.ts'
import type { PendingChangeCompleter } from './tokens/pending-change-completer.ts'
import type { TokenModificationService } from './tokens/token-modification-service.ts'
import type { TokenRevocationService } from './tokens/token-revocation-service.ts'
import type { TokenService } from './tokens/token-service.ts'

/** The use cases, as the composition root makes them for the API, the commands and the background jobs. */
export interface Services {
  readonly authenticator: Authenticator
  readonly limitedAuthenticator: RateLimitedAuthenticator
  readonly subjects: SubjectAuthenticator
  readonly tokenCache: TokenCacheService
  readonly tokens: TokenService
  readonly modification: TokenModificationService
  readonly revocation: TokenRevocationService
  readonly pendingChanges: PendingChangeCompleter
  readonly queries: TokenQueries
  readonly usage: UsageRecorder
  readonly maintenance: MaintenanceService
  readonly audit: AuditService
  readonly encryptionKeys: EncryptionKeyCheck
  readonly knownScopes: KnownScopes
}
