import type { App } from '../../../app.ts'
import { PorthorError, UnauthenticatedError } from '../../../domain/errors.ts'
import { isListed } from '../../../domain/service-scopes.ts'
import type { TokenData } from '../../../domain/token.ts'
import { DelegatedTokens } from '../delegated-tokens.ts'
import type { Pass } from '../exchange.ts'
import { findLateProblems, type Lifetimes, type OriginalRequest, refuseHolder } from './checks.ts'
import type { AccessRules, IngressQuery } from './ingress-query.ts'
import type { Refusal } from './refusal.ts'

/** A request passes, by these rules. */
export interface IngressPass extends Pass {
  readonly kind: 'pass'
  readonly rules: AccessRules
}

/** A request to decide on, whose credentials were found. */
export interface IngressRequest {
  readonly query: IngressQuery
  readonly original: OriginalRequest
  readonly bearer: string
  readonly ipAddress: string | null
}

/** The holder of a valid token passes as these rules say, or not at all. */
type Checked =
  | { readonly rules: AccessRules; readonly refusal?: undefined }
  | { readonly rules?: undefined; readonly refusal: Refusal }

/** Decides whether the holder of a bearer string passes an ingress, and delegates. */
export class IngressDecider {
  readonly #app: Pick<App, 'services' | 'clock'>
  readonly #lifetimes: Lifetimes
  readonly #delegated: DelegatedTokens
  readonly #isListed: (service: string) => boolean

  constructor(app: Pick<App, 'services' | 'clock' | 'config'>) {
    const { tokenLifetime, delegatedTokenLifetime, delegationLimits } = app.config
    this.#app = app
    this.#lifetimes = { token: tokenLifetime, delegatedToken: delegatedTokenLifetime }
    this.#delegated = new DelegatedTokens(app.services.tokenCache)
    this.#isListed = (service) => isListed(service, delegationLimits.services)
  }

  /**
   * As `decide` where all that is needed is in memory; `undefined` where it is not.
   *
   * @throws {PorthorError} Nothing can be delegated from the token.
   */
  findDecision(request: IngressRequest): IngressPass | Refusal | undefined {
    const data = this.#app.services.authenticator.findCached(request.bearer)
    if (!data) return undefined
    const { rules, refusal } = this.#check(request, data)
    if (refusal) return refusal
    const { wanted: delegate, minimumLifetime } = rules
    if (!delegate) return { kind: 'pass', rules, data, delegated: undefined }
    const delegated = this.#delegated.find(data, { delegate, minimumLifetime })
    return delegated && { kind: 'pass', rules, data, delegated }
  }

  /**
   * @throws {UnauthenticatedError} The token is not valid here.
   * @throws {PorthorError} Nothing can be delegated from it.
   * @throws {UnavailableError}
   */
  async decide(request: IngressRequest): Promise<IngressPass | Refusal> {
    const data = await this.#authenticate(request.bearer)
    const { rules, refusal } = this.#check(request, data)
    if (refusal) return refusal
    const { wanted: delegate, minimumLifetime } = rules
    const delegated =
      delegate && (await this.#delegated.get(data, { delegate, minimumLifetime }, request.ipAddress))
    return { kind: 'pass', rules, data, delegated }
  }

  /** A token of type `oidc`, and the bootstrap token, are not valid here. */
  async #authenticate(bearer: string): Promise<TokenData> {
    const actor = await this.#app.services.authenticator.authenticate(bearer).catch((error: unknown) => {
      const isOtherType = error instanceof PorthorError && error.code === 'PERMISSION_DENIED'
      throw isOtherType ? new UnauthenticatedError('unknown') : error
    })
    if (actor.kind !== 'token') throw new UnauthenticatedError('unknown')
    return actor.data
  }

  #check({ query, original }: IngressRequest, data: TokenData): Checked {
    const problems = findLateProblems(query, original, this.#isListed)
    const rules = query.access.value
    if (problems.length > 0 || rules === undefined) return { refusal: { kind: 'problems', problems } }
    const refusal = refuseHolder(rules, data, this.#lifetimes, this.#app.clock.now())
    return refusal ? { refusal } : { rules }
  }
}
