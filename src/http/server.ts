import type { Server, ServerResponse } from 'node:http'
import type { App } from '../app.ts'
import { createGraphQLHandler, ENDPOINT } from './graphql/handler.ts'
import { createGuardedServer, type ServerLimits, serverLimits } from './guarded-server.ts'
import { Monitoring } from './monitoring.ts'
import { createOAuthHandlers } from './oauth/handler.ts'
import { invalidRequest } from './oauth/oauth-error.ts'
import { toErrorResponse } from './oauth/responses.ts'
import { BodyReader } from './read-body.ts'
import { toBadRequest } from './refusals.ts'
import { findHeadProblem, pathOf } from './request-head.ts'
import { respond, writeResponse } from './response.ts'

export { closeServer, type ServerLimits, shareConnections } from './guarded-server.ts'

/**
 * Creates the HTTP server of GraphQL and OAuth; of probes and metrics too, unless they have a port of their own. It does
 * not listen yet.
 */
export function createServer(
  app: App,
  given: Partial<ServerLimits> = {},
  monitoring: Monitoring = new Monitoring(app),
): Server {
  const limits = serverLimits(given)
  const bodies = new BodyReader(limits)
  const isMonitoredHere = app.config.adminPort === undefined
  const handleGraphQL = createGraphQLHandler(app, monitoring.metrics, bodies)
  const oauthHandlers = createOAuthHandlers(app, monitoring.metrics, bodies)
  return createGuardedServer(limits, (request, response) => {
    const problem = findHeadProblem(request)
    const path = pathOf(request)
    if (problem !== undefined) {
      const refusal = oauthHandlers.has(path)
        ? toErrorResponse(invalidRequest(problem))
        : toBadRequest(problem)
      return writeResponse(response, refusal)
    }
    if (path === ENDPOINT) return handleGraphQL(request, response)
    const handleOAuth = oauthHandlers.get(path)
    if (handleOAuth) handleOAuth(request, response)
    else if (!isMonitoredHere || !monitoring.handle(path, response)) pointToApi(path, response)
  })
}

/** Creates the HTTP server of probes and metrics alone. It does not listen yet. */
export function createAdminServer(monitoring: Monitoring, given: Partial<ServerLimits> = {}): Server {
  return createGuardedServer(serverLimits(given), (request, response) => {
    const problem = findHeadProblem(request)
    if (problem !== undefined) return writeResponse(response, toBadRequest(problem))
    if (!monitoring.handle(pathOf(request), response)) {
      respond(response, 404, 'Not found. Here are /livez, /readyz and /metrics\n')
    }
  })
}

function pointToApi(path: string | undefined, response: ServerResponse): void {
  if (path === '/') {
    response.setHeader('Location', ENDPOINT)
    respond(response, 302, `The API is at ${ENDPOINT}\n`)
  } else respond(response, 404, `Not found. The API is at ${ENDPOINT}\n`)
}
