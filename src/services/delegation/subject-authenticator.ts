import { type Actor, requireTokenData } from '../../domain/actor.ts'
import { UnauthenticatedError } from '../../domain/errors.ts'
import { type DelegationRights, type Gateway, requireGateway } from '../../domain/gateway.ts'
import type { TokenData } from '../../domain/token.ts'
import type { Authenticator } from '../authentication/authenticator.ts'

export interface SubjectAuthenticatorDeps {
  readonly authenticator: Authenticator
  readonly rights: DelegationRights
}

/** A gateway, and the token that it delegates from. */
export interface SubjectOfGateway {
  readonly by: Gateway
  readonly parent: TokenData
}

/** Authenticates the tokens that gateways name: their subjects. */
export class SubjectAuthenticator {
  readonly #deps: SubjectAuthenticatorDeps

  constructor(deps: SubjectAuthenticatorDeps) {
    this.#deps = deps
  }

  /**
   * Returns a gateway and its subject. The subject is looked up only after the actor has proven to be a gateway: to anybody
   * else, whether a token is valid stays unknown. Failures are not counted for the address of the gateway: its users cause
   * them.
   *
   * @param actor The current token, already authenticated.
   * @param bearer The bearer string of the subject; the empty string where it does not have the form of one.
   * @throws {PorthorError} `PERMISSION_DENIED`: the actor is not a gateway; the operator has set `DELEGATION=self`; or nothing
   *   is delegated from the subject: the bootstrap token, or one of type OIDC.
   * @throws {UnauthenticatedError} With the role `subject`: the subject is malformed, unknown, expired or revoked.
   * @throws {UnavailableError}
   */
  async authenticate(actor: Actor, bearer: string): Promise<SubjectOfGateway> {
    const by = requireGateway(actor, this.#deps.rights)
    try {
      return { by, parent: requireTokenData(await this.#deps.authenticator.authenticate(bearer)) }
    } catch (error) {
      throw error instanceof UnauthenticatedError ? new UnauthenticatedError(error.reason, 'subject') : error
    }
  }
}
