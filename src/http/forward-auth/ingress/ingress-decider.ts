import type { App } from '../../../app.ts'
import { PorthorError, UnauthenticatedError } from '../../../domain/errors.ts'
import { FORWARD_AUTH } from '../../../domain/gateway.ts'
import { isListed } from '../../../domain/service-scopes.ts'
import type { TokenData } from '../../../domain/token.ts'
import type { DelegatedToken } from '../../../services/delegation/token-cache-service.ts'
import { findLateProblems, type Lifetimes, type OriginalRequest, refuseHolder } from './checks.ts'
import type { AccessRules, IngressQuery, WantedToken } from './ingress-query.ts'
import type { Refusal } from './refusal.ts'

/** A request passes: the user's token, and what is delegated from it. */
export interface IngressPass {
  readonly kind: 'pass'
  readonly rules: AccessRules
  readonly data: TokenData
  readonly delegated: DelegatedToken | undefined
}

/** A request to decide on, whose credentials were found. */
export interface IngressRequest {
  readonly query: IngressQuery
  readonly original: OriginalRequest
  readonly bearer: string
  readonly ipAddress: string | null
}

/** Decides whether the holder of a bearer string passes an ingress, and delegates. */
export class IngressDecider {
  readonly #app: Pick<App, 'services' | 'clock' | 'config'>
  readonly #lifetimes: Lifetimes

  constructor(app: Pick<App, 'services' | 'clock' | 'config'>) {
    this.#app = app
    this.#lifetimes = { token: app.config.tokenLifetime, delegatedToken: app.config.delegatedTokenLifetime }
  }

  /**
   * @throws {UnauthenticatedError} The token is not valid here.
   * @throws {PorthorError} Nothing can be delegated from it.
   * @throws {UnavailableError}
   */
  async decide({ query, original, bearer, ipAddress }: IngressRequest): Promise<IngressPass | Refusal> {
    const { config, clock } = this.#app
    const data = await this.#authenticate(bearer)
    const problems = findLateProblems(query, original, (service) =>
      isListed(service, config.delegationLimits.services),
    )
    const rules = query.access.value
    if (problems.length > 0 || rules === undefined) return { kind: 'problems', problems }
    const refusal = refuseHolder(rules, data, this.#lifetimes, clock.now())
    if (refusal) return refusal
    const { wanted, minimumLifetime } = rules
    const delegated = wanted && (await this.#delegate(wanted, data, ipAddress, minimumLifetime))
    return { kind: 'pass', rules, data, delegated }
  }

  /** A token of type `oidc`, and the bootstrap token, are not valid here: they are for other doors. */
  async #authenticate(bearer: string): Promise<TokenData> {
    const actor = await this.#app.services.authenticator.authenticate(bearer).catch((error: unknown) => {
      const isOtherType = error instanceof PorthorError && error.code === 'PERMISSION_DENIED'
      throw isOtherType ? new UnauthenticatedError('unknown') : error
    })
    if (actor.kind !== 'token') throw new UnauthenticatedError('unknown')
    return actor.data
  }

  #delegate(
    wanted: WantedToken,
    data: TokenData,
    ipAddress: string | null,
    minimumLifetime: number | undefined,
  ): Promise<DelegatedToken> {
    const { tokenCache } = this.#app.services
    const options = { minimumLifetime, by: FORWARD_AUTH }
    if (wanted.type === 'notebook') return tokenCache.getNotebookToken(data, ipAddress, options)
    const scopes = tokenCache.grantableScopes(data, wanted.service, wanted.scopes)
    return tokenCache.getInternalToken(data, wanted.service, scopes, ipAddress, options)
  }
}
