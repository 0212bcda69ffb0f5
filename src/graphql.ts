import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createYoga, type YogaServerInstance, type YogaServerOptions } from 'graphql-yoga'
import type { ProcessContext } from './context.ts'
import { type Actor, actorName } from './domain/actor.ts'
import { parseBearer } from './lib/bearer.ts'
import { clientAddress } from './lib/client-address.ts'
import { lazy } from './lib/lazy.ts'
import type { BodyReader } from './lib/read-body.ts'
import { type PlainAnswer, PlainPost, plainAnswerType, tooLargeAnswer, writeAnswer } from './plain-post.ts'
import { codeErrors } from './plugins/code-errors.ts'
import { Documents, useDocuments, type WithPrepared } from './plugins/documents.ts'
import { graphiqlOptions, renderGraphiQLPage } from './plugins/graphiql.ts'
import { toGraphQLError } from './plugins/graphql-error.ts'
import { logOperation } from './plugins/log-operation.ts'
import type { Metrics } from './plugins/metrics.ts'
import { createExecutor, useFinishers } from './plugins/operation.ts'
import { RefusalLog, useRefusalLog } from './plugins/refusal-log.ts'
import { countResponses, MAX_RESPONSE_BYTES } from './plugins/response-size.ts'
import { useGraphiQLHeaders } from './plugins/use-graphiql-headers.ts'
import { useNoStore } from './plugins/use-no-store.ts'
import { useRedaction } from './plugins/use-redaction.ts'
import { useSpokenRefusals } from './plugins/use-spoken-refusals.ts'
import { useTolerantParams } from './plugins/use-tolerant-params.ts'
import { REFUSED_BODIES, toRefusal } from './refusals.ts'
import type { RequestContext, RequestTrace } from './schema/context.ts'
import { schema } from './schema/index.ts'

/** Where the API is. */
export const ENDPOINT = '/graphql'

interface NodeRequest extends WithPrepared {
  readonly req: IncomingMessage
  readonly res: ServerResponse
}

type Yoga = YogaServerInstance<NodeRequest, RequestContext>

type YogaPlugins = YogaServerOptions<NodeRequest, RequestContext>['plugins'] & {}

type AddressOf = (request: IncomingMessage) => string | undefined

type OpenContext = (request: IncomingMessage) => RequestContext

/** Answers requests to the API: plain ones by the fast path, all others by Yoga. */
export function createGraphQLHandler(
  process: ProcessContext,
  metrics: Metrics,
  bodies: BodyReader,
): (request: IncomingMessage, response: ServerResponse) => void {
  const { introspection, suggestions } = process.config
  countResponses(schema)
  const documents = new Documents({ schema, introspection: introspection !== 'off', suggestions })
  const execute = createExecutor({ suggestions, introspectionNeedsToken: introspection === 'token' })
  const addressOf = clientAddress(process.config.trustedProxies)
  const refusals = new RefusalLog(process.log)
  const openContext = contextOpener(process, addressOf, refusals)
  const finishers = [codeErrors(process.log), metrics.count, logOperation(process.log)]
  const yoga = openYoga(process, openContext, [
    useTolerantParams(),
    useDocuments(documents),
    useFinishers(execute, finishers),
    useRedaction(),
    useRefusalLog(refusals, addressOf),
    useSpokenRefusals(),
    useNoStore(),
    useGraphiQLHeaders(),
  ])
  const prepare = (query: string) => documents.prepare(query)
  const plainPost = new PlainPost({ schema, prepare, execute, finishers })

  const answer = async (
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<PlainAnswer | undefined> => {
    const context = openContext(request)
    if (process.services.guard.isOverLimit(context.ipAddress) && request.headers.authorization) {
      // Before anything is spent on what most likely is one more of many tokens that are not valid.
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
      const type = plainAnswerType(request)
      const plain = type ? await plainPost.answer(body, context, type) : {}
      if ('status' in plain) return plain
      return await answerByYoga(yoga, { ...plain, req: request, res: response }, body)
    } finally {
      bodies.release(body)
    }
  }

  return (request, response) => {
    answer(request, response)
      .catch((error: unknown) => {
        // Outside of any operation: a token that is not valid, one of many, or a fault of ours.
        const errors = [toGraphQLError(error, randomUUID(), process.log)]
        return toRefusal(errors)
      })
      .then((ready) => (ready ? writeAnswer(response, ready) : response.destroy()))
  }
}

function openYoga({ config, log }: ProcessContext, openContext: OpenContext, plugins: YogaPlugins): Yoga {
  return createYoga<NodeRequest, RequestContext>({
    schema,
    graphqlEndpoint: ENDPOINT,
    landingPage: false,
    logging: false,
    cors: false,
    multipart: false,
    // It is without a bound on what it keeps; documents worth keeping are kept by the fast path.
    parserAndValidationCache: false,
    maxRequestBodySize: false,
    graphiql: config.graphiql && graphiqlOptions,
    renderGraphiQL: renderGraphiQLPage,
    context: ({ req }) => openContext(req),
    // Outside of an execution there is no request context to take an id from.
    maskedErrors: { maskError: (error) => toGraphQLError(error, randomUUID(), log) },
    plugins,
  })
}

function contextOpener(
  { prisma, services }: ProcessContext,
  addressOf: AddressOf,
  refusals: RefusalLog,
): OpenContext {
  return (request) => {
    const { authorization } = request.headers
    const trace: RequestTrace = { requestId: randomUUID() }
    const ipAddress = addressOf(request) ?? null
    const actor = lazy(async (): Promise<Actor> => {
      const bearer = parseBearer(authorization)
      try {
        const found = await services.guard.authenticate(bearer, ipAddress)
        trace.username = actorName(found)
        trace.tokenKey = found.kind === 'token' ? found.data.token.key : trace.username
        return found
      } catch (error) {
        services.guard.noteFailure(error, ipAddress)
        refusals.token(error, bearer, ipAddress)
        throw error
      }
    })
    const view = lazy(async () => services.directory.viewFor(await actor()))
    return { prisma, services, ipAddress, trace, actor, view }
  }
}

/**
 * Has Yoga answer a request whose body has been read. Not by Yoga's own listener for Node: that makes a URL of
 * the `Host` header, and tells a client whose header is none all about where it failed.
 */
async function answerByYoga(yoga: Yoga, given: NodeRequest, body: Buffer): Promise<PlainAnswer> {
  const { req: request } = given
  const { url = ENDPOINT, method = 'GET' } = request
  const headers = Object.entries(request.headers).map(([name, value]) => [name, String(value)] as const)
  const answer = await yoga.fetch(
    `http://localhost${url}`,
    {
      method,
      headers: Object.fromEntries(headers),
      ...(method !== 'GET' && method !== 'HEAD' && { body: body.toString('utf8') }),
    },
    given,
  )
  const text = await answer.text()
  const type = answer.headers.get('content-type') ?? ''
  if (Buffer.byteLength(text) > MAX_RESPONSE_BYTES && type.includes('json')) return tooLargeAnswer(type)
  return { status: answer.status, headers: Object.fromEntries(answer.headers), body: text }
}
