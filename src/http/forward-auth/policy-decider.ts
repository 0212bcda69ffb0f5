import type { App } from '../../app.ts'
import { type PolicyDelegation, requirePasses, type TokenPolicy } from '../../domain/auth-policy.ts'
import { UnauthenticatedError } from '../../domain/errors.ts'
import { FORWARD_AUTH } from '../../domain/gateway.ts'
import type { TokenData } from '../../domain/token.ts'
import type { DelegatedToken } from '../../services/delegation/token-cache-service.ts'

/** A request passes: the user's token, and what is delegated from it. */
export interface Pass {
  readonly data: TokenData
  readonly delegated: DelegatedToken | undefined
}

/** Decides whether the holder of a bearer string passes a policy, and delegates. */
export class PolicyDecider {
  readonly #app: Pick<App, 'services' | 'clock'>

  constructor(app: Pick<App, 'services' | 'clock'>) {
    this.#app = app
  }

  /**
   * As `requirePass` where all that is needed is in memory; `undefined` where it is not.
   *
   * @throws {PorthorError} `INSUFFICIENT_LIFETIME`, `PERMISSION_DENIED`
   */
  findPass(_policy: TokenPolicy, _bearer: string): Pass | undefined {
    return undefined
  }

  /**
   * Returns what a request with this bearer string passes with.
   *
   * @throws {PorthorError} As `requirePasses`, and as the delegation does.
   * @throws {UnauthenticatedError} The token is not valid, or is the bootstrap token.
   * @throws {UnavailableError}
   */
  async requirePass(policy: TokenPolicy, bearer: string, ipAddress: string | null): Promise<Pass> {
    const { services, clock } = this.#app
    const actor = await services.authenticator.authenticate(bearer)
    if (actor.kind !== 'token') throw new UnauthenticatedError('unknown')
    const { data } = actor
    requirePasses(policy, data, clock.now())
    const { delegate, minimumLifetime } = policy
    const delegated = delegate && (await this.#delegate(delegate, data, ipAddress, minimumLifetime))
    return { data, delegated }
  }

  #delegate(
    delegate: PolicyDelegation,
    data: TokenData,
    ipAddress: string | null,
    minimumLifetime: number | undefined,
  ): Promise<DelegatedToken> {
    const { tokenCache } = this.#app.services
    const options = { minimumLifetime, by: FORWARD_AUTH }
    if (delegate.type === 'notebook') return tokenCache.getNotebookToken(data, ipAddress, options)
    const { service } = delegate
    const scopes = tokenCache.grantableScopes(data, service, delegate.scopes)
    return tokenCache.getInternalToken(data, service, scopes, ipAddress, options)
  }
}
