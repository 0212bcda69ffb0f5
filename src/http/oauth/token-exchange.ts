import type { App } from '../../app.ts'
import { requireTokenData } from '../../domain/actor.ts'
import { type Delegator, requireGateway, SELF } from '../../domain/gateway.ts'
import { secondsUntil } from '../../domain/lifetime.ts'
import { isListed } from '../../domain/service-scopes.ts'
import { formatToken, type TokenData } from '../../domain/token.ts'
import type { DelegatedToken } from '../../services/delegation/token-cache-service.ts'
import {
  type AuthenticatedClient,
  type OAuthCall,
  type OAuthEndpoint,
  type OAuthRequest,
  type OAuthResult,
  traceActor,
} from './endpoint.ts'
import { toExchangeError } from './exchange-errors.ts'
import { type ExchangeRequest, NOTEBOOK, parseExchange, type Target } from './exchange-request.ts'
import { invalidRequest, OAuthError } from './oauth-error.ts'
import { isRefused, type TokenAuthentication } from './token-authentication.ts'

type Core = Pick<App, 'config' | 'services' | 'clock'>

/** The token that is exchanged, and who exchanges it. */
interface Subject {
  readonly parent: TokenData
  readonly by: Delegator
}

/** `POST /oauth/token` (RFC 8693): exchanges the token of a user for a delegated token. */
export function createTokenExchange(app: Core, tokens: TokenAuthentication): OAuthEndpoint {
  const isByGateways = app.config.delegationRights.mode === 'gateway'
  return {
    client: isByGateways ? 'required' : 'optional',
    respond: async (request) => {
      const exchange = parseExchange(request.form)
      const gateway = isByGateways ? request.client : undefined
      try {
        const subject = gateway
          ? await getSubjectOf(gateway, app, tokens, exchange, request)
          : await getSubject(tokens, exchange, request)
        await requireActor(app, tokens, exchange, { ipAddress: request.ipAddress, gateway })
        const token = await delegate(app, subject, exchange, request.ipAddress)
        request.trace.source = token.source
        return toResult(token, exchange.target, app.clock.now())
      } catch (error) {
        throw toExchangeError(error, gateway)
      }
    },
  }
}

/** Returns the token that its holder exchanges. */
async function getSubject(
  tokens: TokenAuthentication,
  { subject }: ExchangeRequest,
  { client, ipAddress, trace }: OAuthRequest,
): Promise<Subject> {
  const actor = await tokens.authenticate(subject, ipAddress)
  if (!client) traceActor(trace, actor)
  return { parent: requireTokenData(actor), by: SELF }
}

/** Returns the token that a gateway exchanges. It is looked at only after the client has proven to be a gateway. */
async function getSubjectOf(
  { actor }: AuthenticatedClient,
  { config, services }: Core,
  tokens: TokenAuthentication,
  { subject }: ExchangeRequest,
  { ipAddress, trace }: OAuthCall,
): Promise<Subject> {
  requireGateway(actor, config.delegationRights)
  const { by, parent } = await tokens.authenticateNamed(
    (bearer) => services.subjects.authenticate(actor, bearer),
    subject,
    ipAddress,
  )
  trace.subjectUsername = parent.username
  trace.subjectKey = parent.token.key
  return { parent, by }
}

/** The token of the acting party, where the client sends one, must be valid. It gives no rights. */
async function requireActor(
  { services }: Core,
  tokens: TokenAuthentication,
  { actor }: ExchangeRequest,
  {
    ipAddress,
    gateway,
  }: { readonly ipAddress: string | null; readonly gateway: AuthenticatedClient | undefined },
): Promise<void> {
  if (actor === undefined) return
  try {
    if (!gateway) await tokens.authenticate(actor, ipAddress)
    else {
      const { authenticator } = services
      await tokens.authenticateNamed((bearer) => authenticator.authenticate(bearer), actor, ipAddress)
    }
  } catch (error) {
    if (!isRefused(error)) throw error
    throw invalidRequest('actor_token is malformed, unknown, expired or revoked.')
  }
}

function delegate(
  { config, services: { tokenCache } }: Core,
  { parent, by }: Subject,
  { target, minimumLifetime }: ExchangeRequest,
  ipAddress: string | null,
): Promise<DelegatedToken> {
  const options = { minimumLifetime, by }
  if (target.issuedType === NOTEBOOK) return tokenCache.getNotebookToken(parent, ipAddress, options)
  const { service, scopes = tokenCache.defaultScopes(parent, service) } = target
  if (!isListed(service, config.delegationLimits.services)) {
    throw new OAuthError('invalid_target', 'No token may be issued for this audience.')
  }
  return tokenCache.getInternalToken(parent, service, scopes, ipAddress, options)
}

const toResult = ({ data, source }: DelegatedToken, { issuedType }: Target, now: Date): OAuthResult => ({
  body: {
    access_token: formatToken(data.token),
    issued_token_type: issuedType,
    token_type: 'Bearer',
    expires_in: secondsUntil(data.expiresAt, now),
    scope: data.scopes.join(' '),
  },
  headers: { 'Porthor-Source': source.toUpperCase() },
})
