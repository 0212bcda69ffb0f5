import type { KnownScopes } from '../domain/scope.ts'
import type { AuditService } from './maintenance/audit-service.ts'
import type { AuthenticationGuard } from './authentication/authentication-guard.ts'
import type { Authenticator } from './authentication/authenticator.ts'
import type { ChangeFinisher } from './tokens/change-completer.ts'
import type { KeyCheck } from './maintenance/encryption-key-check.ts'
import type { TokenCacheService } from './delegation/token-cache-service.ts'
import type { TokenDirectory } from './queries/token-queries.ts'
import type { TokenModificationService } from './tokens/token-modification-service.ts'
import type { TokenRevocationService } from './tokens/token-revocation-service.ts'
import type { TokenService } from './tokens/token-service.ts'
import type { UpkeepService } from './maintenance/maintenance-service.ts'
import type { UsageRecorder } from './maintenance/usage-recorder.ts'

/** What the API can call upon. */
export interface Services {
  readonly authenticator: Authenticator
  readonly guard: AuthenticationGuard
  readonly tokenCache: TokenCacheService
  readonly tokens: TokenService
  readonly modification: TokenModificationService
  readonly revocation: TokenRevocationService
  readonly finisher: ChangeFinisher
  readonly directory: TokenDirectory
  readonly usage: UsageRecorder
  readonly upkeep: UpkeepService
  readonly audit: AuditService
  readonly keys: KeyCheck
  readonly knownScopes: KnownScopes
}
