import { UnauthenticatedError } from '../../domain/errors.ts'
import type { TokenRevocationService } from '../../services/tokens/token-revocation-service.ts'
import { type OAuthEndpoint, traceActor } from './endpoint.ts'
import { requireParameter, requireSingle } from './form.ts'
import { OAuthError } from './oauth-error.ts'
import type { TokenAuthentication } from './token-authentication.ts'

/**
 * `POST /oauth/revoke` (RFC 7009): revokes a token with its tree. Whoever has the bearer string may do so, so that clients
 * need no credentials. A token that is not valid is no error.
 */
export const createRevocation = (
  tokens: TokenAuthentication,
  revocation: Pick<TokenRevocationService, 'revokePresented'>,
): OAuthEndpoint => ({
  client: 'ignored',
  respond: async ({ form, ipAddress, trace }) => {
    requireSingle(form)
    const bearer = requireParameter(form, 'token')
    const holder = await tokens.authenticate(bearer, ipAddress, 'revoke').catch(ignoreInvalid)
    if (!holder) return {}
    traceActor(trace, holder)
    if (holder.kind !== 'token') {
      throw new OAuthError(
        'unsupported_token_type',
        'The bootstrap token cannot be revoked: set BOOTSTRAP_TOKEN=none.',
      )
    }
    await revocation.revokePresented(holder.data, ipAddress)
    return {}
  },
})

function ignoreInvalid(error: unknown): undefined {
  if (!(error instanceof UnauthenticatedError)) throw error
}
