import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createYoga, type YogaServerInstance, type YogaServerOptions } from 'graphql-yoga'
import type { App } from '../../app.ts'
import { requireGatewayMode } from '../../domain/gateway.ts'
import { schema } from '../../schema/index.ts'
import type { RequestContext } from '../../schema/request-context.ts'
import { clientAddress } from '../client-address.ts'
import type { Metrics } from '../metrics.ts'
import type { BodyReader } from '../read-body.ts'
import { RefusalLog } from '../refusal-log.ts'
import { REFUSED_BODIES, toRefusal } from '../refusals.ts'
import { type CreateContext, requestContexts } from '../request-context.ts'
import { type PreparedResponse, writeResponse } from '../response.ts'
import { Documents, useDocuments, type WithPrepared } from './documents/documents.ts'
import { FastPath, fastPathMediaType, tooLargeResponse } from './fast-path/fast-path.ts'
import { countOperation } from './results/count-operation.ts'
import { addErrorCodes } from './results/error-codes.ts'
import { toGraphQLError } from './results/graphql-error.ts'
import { logOperation } from './results/log-operation.ts'
import { createExecutor, useResultHandlers } from './results/operation.ts'
import { countResponses, MAX_RESPONSE_BYTES } from './results/response-size.ts'
import { getGraphiQLPage, graphiqlOptions } from './yoga/graphiql.ts'
import { useExplainedRefusals } from './yoga/use-explained-refusals.ts'
import { useGraphiQLHeaders } from './yoga/use-graphiql-headers.ts'
import { useNoStore } from './yoga/use-no-store.ts'
import { useRedaction } from './yoga/use-redaction.ts'
import { useRefusalLog } from './yoga/use-refusal-log.ts'
import { useTolerantParams } from './yoga/use-tolerant-params.ts'

/** Path of the API. */
export const ENDPOINT = '/graphql'

interface NodeRequest extends WithPrepared {
  readonly req: IncomingMessage
  readonly res: ServerResponse
}

type Yoga = YogaServerInstance<NodeRequest, RequestContext>

type YogaPlugins = YogaServerOptions<NodeRequest, RequestContext>['plugins'] & {}

/** Returns the handler of requests to the API: common ones take the fast path, all others go to Yoga. */
export function createGraphQLHandler(
  app: App,
  metrics: Metrics,
  bodies: BodyReader,
): (request: IncomingMessage, response: ServerResponse) => void {
  const { introspection, suggestions } = app.config
  countResponses(schema)
  const documents = new Documents({ schema, introspection: introspection !== 'off', suggestions })
  const execute = createExecutor({ suggestions, introspectionNeedsToken: introspection === 'token' })
  const addressOf = clientAddress(app.config.trustedProxies)
  const refusals = new RefusalLog(app.log)
  const createContext = requestContexts(app, addressOf, refusals)
  const resultHandlers = [addErrorCodes(app.log), countOperation(metrics), logOperation(app.log)]
  const yoga = openYoga(app, createContext, [
    useTolerantParams(),
    useDocuments(documents),
    useResultHandlers(execute, resultHandlers),
    useRedaction(),
    useRefusalLog(refusals, addressOf),
    useExplainedRefusals(),
    useNoStore(),
    useGraphiQLHeaders(),
  ])
  const prepare = (query: string) => documents.prepare(query)
  const fastPath = new FastPath({ schema, prepare, execute, resultHandlers })

  const respond = async (
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<PreparedResponse | undefined> => {
    const context = createContext(request)
    // An operation would else delegate from the token of the gateway, and not from that of the user.
    if (context.subject) requireSubjects(app, refusals, context)
    if (app.services.limitedAuthenticator.isOverLimit(context.ipAddress) && request.headers.authorization) {
      // Refuses before the body is read: the token is most likely one more that is not valid.
      await context.actor()
    }
    const body = await bodies.read(request)
    if (body === 'aborted') return undefined
    if (typeof body === 'string') {
      const refusal = REFUSED_BODIES[body]
      refusals.request({ ipAddress: context.ipAddress, status: refusal.status, reason: `body: ${body}` })
      return refusal
    }
    try {
      const type = fastPathMediaType(request)
      const result = type ? await fastPath.respond(body, context, type) : {}
      if ('status' in result) return result
      return await respondByYoga(yoga, { ...result, req: request, res: response }, body)
    } finally {
      bodies.release(body)
    }
  }

  return (request, response) => {
    respond(request, response)
      .catch((error: unknown) => {
        // Not an error of an operation: an address over its limit of failed authentications, a subject without gateways,
        // or a bug.
        const errors = [toGraphQLError(error, randomUUID(), app.log)]
        return toRefusal(errors)
      })
      .then((ready) => (ready ? writeResponse(response, ready) : response.destroy()))
  }
}

function openYoga({ config, log }: App, createContext: CreateContext, plugins: YogaPlugins): Yoga {
  return createYoga<NodeRequest, RequestContext>({
    schema,
    graphqlEndpoint: ENDPOINT,
    landingPage: false,
    logging: false,
    cors: false,
    multipart: false,
    // This cache has no bound; the fast path keeps the documents that are worth it.
    parserAndValidationCache: false,
    maxRequestBodySize: false,
    graphiql: config.graphiql && graphiqlOptions,
    // The page is 9 MB: it is rendered once, and added to Yoga's response.
    renderGraphiQL: () => '',
    context: ({ req }) => createContext(req),
    // Outside of an execution there is no request context with an id.
    maskedErrors: { maskError: (error) => toGraphQLError(error, randomUUID(), log) },
    plugins,
  })
}

/** @throws {PorthorError} `PERMISSION_DENIED` where requests may name no subject. */
function requireSubjects({ config }: App, refusals: RefusalLog, { ipAddress }: RequestContext): void {
  try {
    requireGatewayMode(config.delegationRights)
  } catch (error) {
    refusals.request({
      ipAddress,
      status: 403,
      code: 'PERMISSION_DENIED',
      reason: 'a subject without gateways',
    })
    throw error
  }
}

/**
 * Returns Yoga's response to a request whose body has been read. Yoga's own listener for Node is not used: it parses the
 * `Host` header as part of a URL, and where that fails, the response shows the stack.
 */
async function respondByYoga(yoga: Yoga, given: NodeRequest, body: Buffer): Promise<PreparedResponse> {
  const { req: request } = given
  const { url = ENDPOINT, method = 'GET' } = request
  const headers = Object.entries(request.headers).map(([name, value]) => [name, String(value)] as const)
  const response = await yoga.fetch(
    `http://localhost${url}`,
    {
      method,
      headers: Object.fromEntries(headers),
      ...(method !== 'GET' && method !== 'HEAD' && { body: body.toString('utf8') }),
    },
    given,
  )
  const type = response.headers.get('content-type') ?? ''
  const status = { status: response.status, headers: Object.fromEntries(response.headers) }
  if (type.startsWith('text/html')) return { ...status, body: getGraphiQLPage() }
  const text = await response.text()
  if (Buffer.byteLength(text) > MAX_RESPONSE_BYTES && type.includes('json')) return tooLargeResponse(type)
  return { ...status, body: text }
}
