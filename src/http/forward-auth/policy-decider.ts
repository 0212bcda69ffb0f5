import type { App } from '../../app.ts'
import { type PolicyDelegation, requirePasses, type TokenPolicy } from '../../domain/auth-policy.ts'
import { PorthorError, UnauthenticatedError } from '../../domain/errors.ts'
import { FORWARD_AUTH } from '../../domain/gateway.ts'
import { intersect } from '../../domain/scope.ts'
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
  findPass(policy: TokenPolicy, bearer: string): Pass | undefined {
    const { services, clock } = this.#app
    const data = services.authenticator.findCached(bearer)
    if (!data) return undefined
    requirePasses(policy, data, clock.now())
    if (!policy.delegate) return { data, delegated: undefined }
    const delegated = this.#find(policy.delegate, data, policy.minimumLifetime)
    return delegated && { data, delegated }
  }

  #find(
    delegate: PolicyDelegation,
    data: TokenData,
    minimumLifetime: number | undefined,
  ): DelegatedToken | undefined {
    const { tokenCache } = this.#app.services
    const options = { minimumLifetime, by: FORWARD_AUTH }
    if (delegate.type === 'notebook') return tokenCache.findNotebookToken(data, options)
    const scopes = tokenCache.grantableScopes(data, delegate.service, delegate.scopes)
    return tokenCache.findInternalToken(data, delegate.service, scopes, options)
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
    return tokenCache.getInternalToken(data, service, scopes, ipAddress, options).catch((error: unknown) => {
      const held = error instanceof PorthorError ? error.facts.heldScopes : undefined
      if (!held) throw error
      // An edit has just taken scopes from the user's token.
      return tokenCache.getInternalToken(data, service, intersect(scopes, held), ipAddress, options)
    })
  }
}
