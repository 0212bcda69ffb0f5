import type { App } from '../../app.ts'
import { requirePasses, type TokenPolicy } from '../../domain/auth-policy.ts'
import { UnauthenticatedError } from '../../domain/errors.ts'
import { DelegatedTokens } from './delegated-tokens.ts'
import type { Pass } from './exchange.ts'

/** Decides whether the holder of a bearer string passes a policy, and delegates. */
export class PolicyDecider {
  readonly #app: Pick<App, 'services' | 'clock'>
  readonly #delegated: DelegatedTokens

  constructor(app: Pick<App, 'services' | 'clock'>) {
    this.#app = app
    this.#delegated = new DelegatedTokens(app.services.tokenCache)
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
    const { delegate, minimumLifetime } = policy
    if (!delegate) return { data, delegated: undefined }
    const delegated = this.#delegated.find(data, { delegate, minimumLifetime })
    return delegated && { data, delegated }
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
    const delegated = delegate && (await this.#delegated.get(data, { delegate, minimumLifetime }, ipAddress))
    return { data, delegated }
  }
}
