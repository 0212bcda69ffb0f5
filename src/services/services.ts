import type { KnownScopes } from '../domain/scope.ts'
import type { AuditService } from './audit-service.ts'
import type { AuthenticationGuard } from './authentication-guard.ts'
import type { Authenticator } from './authenticator.ts'
import type { ChangeFinisher } from './change-finisher.ts'
import type { KeyCheck } from './key-check.ts'
import type { TokenCacheService } from './token-cache-service.ts'
import type { TokenDirectory } from './token-directory.ts'
import type { TokenModificationService } from './token-modification-service.ts'
import type { TokenRevocationService } from './token-revocation-service.ts'
import type { TokenService } from './token-service.ts'
import type { UpkeepService } from './upkeep-service.ts'
import type { UsageRecorder } from './usage-recorder.ts'

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
