import { type Actor, requireTokenData } from '../../domain/actor.ts'
import { secondsUntil } from '../../domain/lifetime.ts'
import { formatToken, type TokenData } from '../../domain/token.ts'
import type { Clock } from '../../lib/clock.ts'
import type { DelegatedToken, TokenCacheService } from '../../services/delegation/token-cache-service.ts'
import { type OAuthEndpoint, type OAuthRequest, type OAuthResult, traceActor } from './endpoint.ts'
import { invalidSubject, toExchangeError } from './exchange-errors.ts'
import { type Form, requireParameter, requireSingle } from './form.ts'
import { invalidRequest, OAuthError } from './oauth-error.ts'
import { isRefused, type TokenAuthentication } from './token-authentication.ts'

/** RFC 8693 2.1. */
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'

/** RFC 8693 3. */
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

const NOTEBOOK = 'urn:porthor:params:oauth:token-type:notebook'

/** What the client asks for. */
type Target =
  | { readonly issuedType: typeof ACCESS_TOKEN; readonly service: string; readonly scopes: readonly string[] }
  | { readonly issuedType: typeof NOTEBOOK }

/** `POST /oauth/token` (RFC 8693): exchanges the token of a user for a delegated token. */
export const createTokenExchange = (
  tokens: TokenAuthentication,
  tokenCache: TokenCacheService,
  clock: Clock,
): OAuthEndpoint => ({
  client: 'optional',
  respond: async (request) => {
    const { form, ipAddress, trace } = request
    requireGrant(form)
    const target = parseTarget(form)
    const minimumLifetime = parseMinimumLifetime(form)
    const subject = await getSubject(tokens, request)
    await requireActor(tokens, request)
    try {
      const options = { minimumLifetime }
      const token =
        target.issuedType === NOTEBOOK
          ? await tokenCache.getNotebookToken(subject, ipAddress, options)
          : await tokenCache.getInternalToken(subject, target.service, target.scopes, ipAddress, options)
      trace.source = token.source
      return toResult(token, target, clock.now())
    } catch (error) {
      throw toExchangeError(error)
    }
  },
})

/** Several audiences or resources have an error code of their own. */
function requireGrant(form: Form): void {
  requireSingle(form, ['audience', 'resource'])
  if (requireParameter(form, 'grant_type') === TOKEN_EXCHANGE) return
  throw new OAuthError('unsupported_grant_type', `grant_type must be ${TOKEN_EXCHANGE}.`)
}

function parseTarget(form: Form): Target {
  if (form.get('resource') !== undefined || form.repeated.has('resource')) {
    throw new OAuthError('invalid_target', 'resource is not supported: name the service in audience.')
  }
  if (form.repeated.has('audience')) {
    throw new OAuthError('invalid_target', 'A token is for one service: send one audience.')
  }
  const issuedType = form.get('requested_token_type') ?? ACCESS_TOKEN
  const service = form.get('audience')
  const scope = form.get('scope')
  if (issuedType === NOTEBOOK) {
    if (service !== undefined) {
      throw new OAuthError('invalid_target', 'A notebook token is for no service: leave audience out.')
    }
    if (scope === undefined) return { issuedType }
    throw new OAuthError(
      'invalid_scope',
      'A notebook token has all delegable scopes of subject_token: leave scope out.',
    )
  }
  if (issuedType !== ACCESS_TOKEN) {
    throw invalidRequest(`requested_token_type must be ${ACCESS_TOKEN} or ${NOTEBOOK}.`)
  }
  if (service === undefined) throw invalidRequest('The parameter audience is required: name the service.')
  return { issuedType, service, scopes: scope?.split(' ').filter(Boolean) ?? [] }
}

function parseMinimumLifetime(form: Form): number | undefined {
  const text = form.get('minimum_lifetime')
  if (text === undefined) return undefined
  if (/^\d{1,10}$/.test(text)) return Number(text)
  throw invalidRequest('minimum_lifetime must be a whole number of seconds.')
}

/** Returns the data of the token that the client exchanges. */
async function getSubject(
  tokens: TokenAuthentication,
  { form, client, ipAddress, trace }: OAuthRequest,
): Promise<TokenData> {
  const bearer = requireParameter(form, 'subject_token')
  requireTokenType(form, 'subject_token_type')
  const subject = await tokens.authenticate(bearer, ipAddress).catch((error: unknown): never => {
    throw isRefused(error) ? invalidSubject() : error
  })
  if (!client) traceActor(trace, subject)
  try {
    return requireTokenData(subject)
  } catch (error) {
    throw toExchangeError(error)
  }
}

/** The token of the acting party, where the client sends one, must be valid. It gives no rights. */
async function requireActor(
  tokens: TokenAuthentication,
  { form, ipAddress }: OAuthRequest,
): Promise<Actor | undefined> {
  const bearer = form.get('actor_token')
  if (bearer === undefined) {
    // RFC 8693 2.1.
    if (form.get('actor_token_type') === undefined) return undefined
    throw invalidRequest('actor_token_type is only for a request with actor_token: leave it out.')
  }
  requireTokenType(form, 'actor_token_type')
  return tokens.authenticate(bearer, ipAddress).catch((error: unknown): never => {
    throw isRefused(error) ? invalidRequest('actor_token is malformed, unknown, expired or revoked.') : error
  })
}

function requireTokenType(form: Form, name: string): void {
  if (requireParameter(form, name) === ACCESS_TOKEN) return
  throw invalidRequest(`${name} must be ${ACCESS_TOKEN}.`)
}

const toResult = ({ data, source }: DelegatedToken, { issuedType }: Target, now: Date): OAuthResult => ({
  body: {
    access_token: formatToken(data.token),
    issued_token_type: issuedType,
    token_type: 'Bearer',
    expires_in: Math.floor(secondsUntil(data.expiresAt, now)),
    scope: data.scopes.join(' '),
  },
  headers: { 'Porthor-Source': source.toUpperCase() },
})
