import type { Server, ServerResponse } from 'node:http'
import type { App } from '../app.ts'
import { UnavailableError } from '../domain/errors.ts'
import { NotWritableError } from '../stores/database/writable.ts'
import { writeResponse } from './graphql/fast-path/fast-path.ts'
import { createGraphQLHandler, ENDPOINT } from './graphql/handler.ts'
import { Metrics } from './graphql/results/metrics.ts'
import { createGuardedServer, type ServerLimits, serverLimits } from './guarded-server.ts'
import { createOAuthHandlers } from './oauth/handler.ts'
import { invalidRequest } from './oauth/oauth-error.ts'
import { toErrorResponse } from './oauth/responses.ts'
import { BodyReader } from './read-body.ts'
import { toBadRequest } from './refusals.ts'
import { findHeadProblem } from './request-head.ts'

export { closeServer, type ServerLimits } from './guarded-server.ts'

/** Creates an HTTP server for the API, health and metrics. It does not listen yet. */
export function createServer(
  context: App,
  given: Partial<ServerLimits> = {},
  metrics: Metrics = new Metrics(),
): Server {
  const limits = serverLimits(given)
  const bodies = new BodyReader(limits)
  const handleGraphQL = createGraphQLHandler(context, metrics, bodies)
  const oauthHandlers = createOAuthHandlers(context, metrics, bodies)
  return createGuardedServer(limits, (request, response) => {
    const problem = findHeadProblem(request)
    const path = request.url?.split('?', 1)[0]
    if (problem !== undefined) {
      const refusal = oauthHandlers.has(path)
        ? toErrorResponse(invalidRequest(problem))
        : toBadRequest(problem)
      return writeResponse(response, refusal)
    }
    if (path === ENDPOINT) return handleGraphQL(request, response)
    const handleOAuth = oauthHandlers.get(path)
    if (handleOAuth) handleOAuth(request, response)
    else handleOther(context, metrics, path, response).catch(() => response.destroy())
  })
}

async function handleOther(
  context: App,
  { registry }: Metrics,
  path: string | undefined,
  response: ServerResponse,
): Promise<void> {
  const respond = (status: number, body: string, type = 'text/plain; charset=utf-8'): void => {
    response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(`${body}\n`)
  }
  switch (path) {
    case '/livez':
      return respond(200, 'alive')
    case '/readyz':
      return context.ping().then(
        () => respond(200, 'ready'),
        (error: unknown) => respond(503, describeOutage(error)),
      )
    case '/metrics':
      return respond(200, await registry.metrics(), registry.contentType)
    case '/':
      response.setHeader('Location', ENDPOINT)
      return respond(302, `The API is at ${ENDPOINT}`)
    default:
      return respond(404, `Not found. The API is at ${ENDPOINT}`)
  }
}

const describeOutage = (error: unknown): string =>
  error instanceof UnavailableError && error.cause instanceof NotWritableError
    ? error.cause.summary
    : 'a storage service is unavailable'
