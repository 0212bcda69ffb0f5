import { type Actor, actorScopes, isAdmin } from '../../domain/actor.ts'
import { INTROSPECT_SCOPE } from '../../domain/scope.ts'
import { serviceOf, type TokenData } from '../../domain/token.ts'
import type { Authenticator } from '../../services/authentication/authenticator.ts'
import type { OAuthEndpoint } from './endpoint.ts'
import { requireParameter, requireSingle } from './form.ts'
import { OAuthError } from './oauth-error.ts'
import { isRefused, toBearer } from './token-authentication.ts'

/** RFC 7662 2.2: nothing else about a token that is not active. */
const INACTIVE = { active: false }

/** `POST /oauth/introspect` (RFC 7662): whether a token is valid, and what it holds. */
export const createIntrospection = (authenticator: Authenticator): OAuthEndpoint => ({
  client: 'required',
  respond: async ({ form, client, issuer }) => {
    requireMayIntrospect(client?.actor)
    requireSingle(form)
    const data = await findActive(authenticator, requireParameter(form, 'token'))
    return { body: data ? describe(data, issuer) : INACTIVE }
  },
})

function requireMayIntrospect(client: Actor | undefined): void {
  if (client && (isAdmin(client) || actorScopes(client).includes(INTROSPECT_SCOPE))) return
  throw new OAuthError(
    'insufficient_scope',
    `This requires a token with the scope ${INTROSPECT_SCOPE} or admin:token.`,
    {
      status: 403,
      headers: {
        'WWW-Authenticate': `Bearer realm="porthor", error="insufficient_scope", scope="${INTROSPECT_SCOPE}"`,
      },
    },
  )
}

/**
 * Returns the data of a token that acts here; `undefined` for any other, the bootstrap token included. Failures are not
 * counted: the client has authenticated.
 *
 * @throws {UnavailableError} It is not known whether the token is valid.
 */
async function findActive(authenticator: Authenticator, parameter: string): Promise<TokenData | undefined> {
  try {
    const actor = await authenticator.authenticate(toBearer(parameter))
    return actor.kind === 'token' ? actor.data : undefined
  } catch (error) {
    if (isRefused(error)) return undefined
    throw error
  }
}

function describe(data: TokenData, issuer: string | undefined): object {
  const { token, username, scopes, createdAt, expiresAt, type } = data
  const service = serviceOf(data)
  return {
    active: true,
    scope: scopes.join(' '),
    username,
    sub: username,
    ...(service !== null && { client_id: service, aud: service, act: { sub: service } }),
    token_type: 'Bearer',
    ...(expiresAt && { exp: toSeconds(expiresAt) }),
    iat: toSeconds(createdAt),
    ...(issuer !== undefined && { iss: issuer }),
    jti: token.key,
    porthor_type: type,
  }
}

const toSeconds = (time: Date): number => Math.floor(time.getTime() / 1_000)
