import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { DocumentNode } from 'graphql'
import { createYoga, type YogaInitialContext, type YogaServerInstance } from 'graphql-yoga'
import type { ProcessContext } from './context.ts'
import { type Actor, actorName } from './domain/actor.ts'
import { parseBearer } from './lib/bearer.ts'
import { clientAddress } from './lib/client-address.ts'
import { lazy } from './lib/lazy.ts'
import type { BodyReader } from './lib/read-body.ts'
import {
  type PlainAnswer,
  PlainPost,
  type PlainPostDeps,
  plainAnswerType,
  writeAnswer,
} from './plain-post.ts'
import { codeErrors } from './plugins/code-errors.ts'
import { graphiqlOptions, renderGraphiQLPage } from './plugins/graphiql.ts'
import { toGraphQLError } from './plugins/graphql-error.ts'
import { logOperation } from './plugins/log-operation.ts'
import type { Metrics } from './plugins/metrics.ts'
import { type Finisher, useFinishers } from './plugins/operation.ts'
import { useLimits } from './plugins/use-limits.ts'
import { useNoStore } from './plugins/use-no-store.ts'
import { useRedaction } from './plugins/use-redaction.ts'
import { useSpokenRefusals } from './plugins/use-spoken-refusals.ts'
import { REFUSED_BODIES, toRefusal } from './refusals.ts'
import type { RequestContext, RequestTrace } from './schema/context.ts'
import { schema } from './schema/index.ts'

/** Where the API is. */
export const ENDPOINT = '/graphql'

interface NodeRequest {
  readonly req: IncomingMessage
  readonly res: ServerResponse
}

type Yoga = YogaServerInstance<NodeRequest, RequestContext>

type OpenContext = (request: IncomingMessage) => RequestContext

/** Answers requests to the API: plain ones by the short way, all others by Yoga. */
export function createGraphQLHandler(
  process: ProcessContext,
  metrics: Metrics,
  bodies: BodyReader,
): (request: IncomingMessage, response: ServerResponse) => void {
  const openContext = contextOpener(process)
  const finishers = [codeErrors(process.log), metrics.count, logOperation(process.log)]
  const yoga = openYoga(process, openContext, finishers)
  const plainPost = new PlainPost({ schema, finishers, prepare: preparer(yoga) })

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
    if (typeof body === 'string') return REFUSED_BODIES[body]
    try {
      const type = plainAnswerType(request)
      const plain = type && (await plainPost.answer(body, context, type))
      return plain || (await answerByYoga(yoga, request, response, body))
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

function openYoga(
  { config, log }: ProcessContext,
  openContext: OpenContext,
  finishers: readonly Finisher[],
): Yoga {
  return createYoga<NodeRequest, RequestContext>({
    schema,
    graphqlEndpoint: ENDPOINT,
    landingPage: false,
    logging: false,
    cors: false,
    multipart: false,
    // It is without a bound on what it keeps; documents worth keeping are kept by the short way.
    parserAndValidationCache: false,
    maxRequestBodySize: false,
    graphiql: config.graphiql && graphiqlOptions,
    renderGraphiQL: renderGraphiQLPage,
    context: ({ req }) => openContext(req),
    // Outside of an execution there is no request context to take an id from.
    maskedErrors: { maskError: (error) => toGraphQLError(error, randomUUID(), log) },
    plugins: [useLimits(), useFinishers(finishers), useRedaction(), useSpokenRefusals(), useNoStore()],
  })
}

function contextOpener({ config, prisma, services }: ProcessContext): OpenContext {
  const addressOf = clientAddress(config.trustedProxies)
  return (request) => {
    const { authorization } = request.headers
    const trace: RequestTrace = { requestId: randomUUID() }
    const ipAddress = addressOf(request) ?? null
    const actor = lazy(async (): Promise<Actor> => {
      try {
        const found = await services.guard.authenticate(parseBearer(authorization), ipAddress)
        trace.username = actorName(found)
        trace.tokenKey = found.kind === 'token' ? found.data.token.key : trace.username
        return found
      } catch (error) {
        services.guard.noteFailure(error, ipAddress)
        throw error
      }
    })
    const view = lazy(async () => services.directory.viewFor(await actor()))
    return { prisma, services, ipAddress, trace, actor, view }
  }
}

/** Parses and validates by all of Yoga's rules and ours. */
function preparer(yoga: Yoga): PlainPostDeps['prepare'] {
  // Yoga's plugins look at the request, and note on a faulty query how it would have answered.
  const request = new yoga.fetchAPI.Request(`http://localhost${ENDPOINT}`, { method: 'POST' })
  return (query, operationName) => {
    const context = { request, params: { query, operationName } } as YogaInitialContext & NodeRequest
    const { parse, validate, schema: current } = yoga.getEnveloped(context)
    try {
      const document: DocumentNode = parse(query)
      return validate(current, document).length === 0 ? document : undefined
    } catch {
      return undefined
    }
  }
}

/**
 * Has Yoga answer a request whose body has been read. Not by Yoga's own listener for Node: that makes a URL of
 * the `Host` header, and tells a client whose header is none all about where it failed.
 */
async function answerByYoga(
  yoga: Yoga,
  request: IncomingMessage,
  response: ServerResponse,
  body: Buffer,
): Promise<PlainAnswer> {
  const { url = ENDPOINT, method = 'GET' } = request
  const headers = Object.entries(request.headers).map(([name, value]) => [name, String(value)] as const)
  const answer = await yoga.fetch(
    `http://localhost${url}`,
    {
      method,
      headers: Object.fromEntries(headers),
      ...(method !== 'GET' && method !== 'HEAD' && { body: body.toString('utf8') }),
    },
    { req: request, res: response },
  )
  return {
    status: answer.status,
    headers: Object.fromEntries(answer.headers),
    body: await answer.text(),
  }
}
