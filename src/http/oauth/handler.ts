import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { App } from '../../app.ts'
import { UnavailableError } from '../../domain/errors.ts'
import { systemClock } from '../../lib/clock.ts'
import { clientAddress } from '../client-address.ts'
import { logUnavailable, logUnexpected } from '../error-log.ts'
import type { Metrics } from '../metrics.ts'
import type { BodyReader } from '../read-body.ts'
import { RefusalLog } from '../refusal-log.ts'
import { writeResponse } from '../response.ts'
import { type OAuthCall, type OAuthEndpoint, type OAuthResult, requireMethod } from './endpoint.ts'
import { respondToForm } from './form-request.ts'
import { createIntrospection } from './introspect.ts'
import { issuerOf } from './issuer.ts'
import {
  INTROSPECTION_PATH,
  metadataPaths,
  REVOCATION_PATH,
  respondWithMetadata,
  TOKEN_PATH,
} from './metadata.ts'
import type { OAuthEndpointName } from './oauth-metrics.ts'
import { toErrorResponse, toOAuthError, toResponse } from './responses.ts'
import { createRevocation } from './revoke.ts'
import { TokenAuthentication } from './token-authentication.ts'
import { createTokenExchange } from './token-exchange.ts'

/** Returns the result; `undefined` if the client has closed the connection. @throws {OAuthError | PorthorError} */
type Respond = (request: IncomingMessage, call: OAuthCall) => Promise<OAuthResult | undefined>

interface Route {
  readonly name: OAuthEndpointName
  readonly paths: readonly string[]
  readonly respond: Respond
}

export type OAuthHandler = (request: IncomingMessage, response: ServerResponse) => void

/** Returns the handlers of requests to the OAuth endpoints, by path. */
export function createOAuthHandlers(
  app: App,
  metrics: Metrics,
  bodies: BodyReader,
): ReadonlyMap<string | undefined, OAuthHandler> {
  const addressOf = clientAddress(app.config.trustedProxies)
  const openCall = (request: IncomingMessage): OAuthCall => ({
    ipAddress: addressOf(request) ?? null,
    issuer: issuerOf(app.config, request),
    trace: { requestId: randomUUID() },
  })
  const handlers = routesOf(app, bodies).flatMap(({ name, paths, respond }) => {
    const handle: OAuthHandler = (request, response) => {
      handleRequest({ app, metrics, name, respond }, request, openCall(request), response)
    }
    return paths.map((path) => [path, handle] as const)
  })
  return new Map(handlers)
}

function routesOf(app: App, bodies: BodyReader): readonly Route[] {
  const { config, services, log } = app
  const tokens = new TokenAuthentication(services.limitedAuthenticator, new RefusalLog(log))
  const toForm =
    (endpoint: OAuthEndpoint): Respond =>
    (request, call) =>
      respondToForm({ tokens, bodies }, endpoint, request, call)
  return [
    {
      name: 'token',
      paths: [TOKEN_PATH],
      respond: toForm(createTokenExchange(app, tokens)),
    },
    {
      name: 'introspect',
      paths: [INTROSPECTION_PATH],
      respond: toForm(createIntrospection(services.authenticator)),
    },
    {
      name: 'revoke',
      paths: [REVOCATION_PATH],
      respond: toForm(createRevocation(tokens, services.revocation)),
    },
    {
      name: 'metadata',
      paths: metadataPaths(config.publicUrl),
      respond: async (request, { issuer }) => {
        requireMethod(request, ['GET', 'HEAD'])
        return respondWithMetadata(issuer, config)
      },
    },
  ]
}

interface Handling {
  readonly app: App
  readonly metrics: Metrics
  readonly name: OAuthEndpointName
  readonly respond: Respond
}

function handleRequest(
  { app: { log }, metrics, name, respond }: Handling,
  request: IncomingMessage,
  call: OAuthCall,
  response: ServerResponse,
): void {
  const { ipAddress, trace } = call
  const startedAt = systemClock.monotonicMs()
  /** Logs one line for each request: endpoint, who acts, outcome and duration. Never a token. */
  const record = (outcome: string): void => {
    const durationMs = Math.round((systemClock.monotonicMs() - startedAt) * 1_000) / 1_000
    metrics.countDelegation(trace.source)
    metrics.oauth.count(name, outcome, durationMs / 1_000)
    log.info({ ...trace, endpoint: name, ipAddress, outcome, durationMs }, 'oauth request')
  }
  respond(request, call).then(
    (result) => {
      if (result) {
        record('ok')
        writeResponse(response, toResponse(result))
      } else response.destroy()
    },
    (error: unknown) => {
      const refusal = toOAuthError(error, trace.requestId)
      if (error instanceof UnavailableError) logUnavailable(error, trace.requestId, log)
      if (refusal.error === 'server_error') logUnexpected(error, trace.requestId, log)
      record(refusal.error)
      writeResponse(response, toErrorResponse(refusal))
    },
  )
}
