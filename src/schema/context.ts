import type { Actor } from '../domain/actor.ts'
import type { PrismaClient } from '../generated/prisma/client.ts'
import type { Services } from '../services/services.ts'
import type { DelegationSource } from '../services/token-cache-service.ts'
import type { Caller } from '../services/token-service.ts'
import type { TokenView } from '../services/token-view.ts'

/** What is found out about a request on its way, for its line in the log. */
export interface RequestTrace {
  readonly requestId: string
  /** The acting token's key, or `<bootstrap>`. */
  tokenKey?: string
  username?: string
  source?: DelegationSource
}

/** What a resolver sees. Made for every request. */
export interface RequestContext {
  readonly prisma: PrismaClient
  readonly services: Services
  /** The client's address; `null` when it is not known. */
  readonly ipAddress: string | null
  readonly trace: RequestTrace
  /**
   * Who is asking. Authenticates once per request, when first called.
   *
   * @throws {UnauthenticatedError | UnavailableError}
   */
  readonly actor: () => Promise<Actor>
  /**
   * What the actor may see of tokens and their history.
   *
   * @throws {PorthorError} `PERMISSION_DENIED` without `user:token` or `admin:token`.
   */
  readonly view: () => Promise<TokenView>
}

/** Who asks, as the services take it. */
export const callerOf = async ({ actor, ipAddress }: RequestContext): Promise<Caller> => ({
  actor: await actor(),
  ipAddress,
})
