import type { Actor } from '../domain/actor.ts'
import type { PrismaClient } from '../generated/prisma/client.ts'
import type { SubjectOfGateway } from '../services/delegation/subject-authenticator.ts'
import type { DelegationSource } from '../services/delegation/token-cache-service.ts'
import type { TokenView } from '../services/queries/token-view.ts'
import type { Services } from '../services/services.ts'
import type { Caller } from '../services/tokens/token-service.ts'

/** Facts of a request that are collected during its execution, for its log line. */
export interface RequestTrace {
  readonly requestId: string
  /** Key of the current token, or `<bootstrap>`. */
  tokenKey?: string
  username?: string
  source?: DelegationSource
  /** Key and user of the token that a gateway names. */
  subjectKey?: string
  subjectUsername?: string
}

/** Context of the resolvers of one request. */
export interface RequestContext {
  readonly prisma: PrismaClient
  readonly services: Services
  /** Address of the client; `null` when it is unknown. */
  readonly ipAddress: string | null
  readonly trace: RequestTrace
  /**
   * Returns who makes the request. The first call authenticates; later calls return the same promise.
   *
   * @throws {UnauthenticatedError | UnavailableError}
   */
  readonly actor: () => Promise<Actor>
  /**
   * Returns the gateway that makes the request, and the token of the user for whom it does. `undefined` where the request has
   * no such token.
   *
   * @throws As `SubjectAuthenticator.authenticate` and `actor`.
   */
  readonly subject: (() => Promise<SubjectOfGateway>) | undefined
  /**
   * Returns the tokens and history events that the actor may see.
   *
   * @throws {PorthorError} `PERMISSION_DENIED` without `user:token` or `admin:token`.
   */
  readonly view: () => Promise<TokenView>
}

/** Returns the actor and address that the services take. */
export const callerOf = async ({ actor, ipAddress }: RequestContext): Promise<Caller> => ({
  actor: await actor(),
  ipAddress,
})
