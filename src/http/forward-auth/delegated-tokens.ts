import type { PolicyDelegation } from '../../domain/auth-policy.ts'
import { PorthorError } from '../../domain/errors.ts'
import { FORWARD_AUTH } from '../../domain/gateway.ts'
import { intersect } from '../../domain/scope.ts'
import type { TokenData } from '../../domain/token.ts'
import type { DelegatedToken, TokenCacheService } from '../../services/delegation/token-cache-service.ts'

/** What the token of a user is to be delegated as. */
export interface Delegation {
  readonly delegate: PolicyDelegation
  /** Least remaining lifetime of the delegated token, in seconds; `undefined`: half of its lifetime. */
  readonly minimumLifetime: number | undefined
}

/** Delegates from users' tokens for gateways. The scopes are optional: a token gets those that may be delegated to it. */
export class DelegatedTokens {
  readonly #cache: TokenCacheService

  constructor(cache: TokenCacheService) {
    this.#cache = cache
  }

  /** As `get` where all that is needed is in memory; `undefined` where it is not. */
  find(parent: TokenData, { delegate, minimumLifetime }: Delegation): DelegatedToken | undefined {
    const options = { minimumLifetime, by: FORWARD_AUTH }
    if (delegate.type === 'notebook') return this.#cache.findNotebookToken(parent, options)
    const scopes = this.#cache.grantableScopes(parent, delegate.service, delegate.scopes)
    return this.#cache.findInternalToken(parent, delegate.service, scopes, options)
  }

  /** @throws As `TokenCacheService.getInternalToken`; `INVALID_SCOPES` only after two edits of the parent in a row. */
  get(
    parent: TokenData,
    { delegate, minimumLifetime }: Delegation,
    ipAddress: string | null,
  ): Promise<DelegatedToken> {
    const options = { minimumLifetime, by: FORWARD_AUTH }
    if (delegate.type === 'notebook') return this.#cache.getNotebookToken(parent, ipAddress, options)
    const { service } = delegate
    const scopes = this.#cache.grantableScopes(parent, service, delegate.scopes)
    return this.#cache
      .getInternalToken(parent, service, scopes, ipAddress, options)
      .catch((error: unknown) => {
        const held = error instanceof PorthorError ? error.facts.heldScopes : undefined
        if (!held) throw error
        // An edit has just taken scopes from the user's token.
        return this.#cache.getInternalToken(parent, service, intersect(scopes, held), ipAddress, options)
      })
  }
}
