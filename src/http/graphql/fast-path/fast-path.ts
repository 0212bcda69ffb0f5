import type { IncomingMessage } from 'node:http'
import {
  type ExecutionResult,
  GraphQLError,
  type GraphQLSchema,
  getOperationAST,
  OperationTypeNode,
} from 'graphql'
import { LRUCache } from 'lru-cache'
import { systemClock } from '../../../lib/clock.ts'
import type { RequestContext } from '../../../schema/request-context.ts'
import type { PreparedResponse } from '../../response.ts'
import type { PreparedDocument, WithPrepared } from '../documents/documents.ts'
import { areVariablesTooLarge } from '../documents/variable-limits.ts'
import { type Execute, handleResult, operationNameOf, type ResultHandler } from '../results/operation.ts'
import { MAX_RESPONSE_BYTES, responseTooLarge } from '../results/response-size.ts'
import { type PreparedOperation, prepareOperation } from './prepared-operation.ts'

/**
 * Fast path for most requests: a POST of JSON with one valid operation. All other requests go to Yoga, so that there is
 * only one full implementation of GraphQL over HTTP.
 *
 * @see https://graphql.github.io/graphql-over-http/draft/
 */

export interface FastPathDeps {
  readonly schema: GraphQLSchema
  /** Parses and validates a query, as for Yoga. */
  readonly prepare: (query: string) => PreparedDocument
  readonly execute: Execute
  readonly resultHandlers: readonly ResultHandler[]
}

/**
 * Size of the cache of validated documents, and of one document in it, in characters of their queries. A document takes up
 * to two hundred times the memory of its query, and any client can send one.
 */
const MAX_CACHED_QUERY_CHARS = 250_000
const MAX_CACHED_QUERY_LENGTH = 10_000

/** Size of the cache of prepared operations, and of one in it, in characters of their request bodies. */
const MAX_CACHED_BODY_CHARS = 250_000
const MAX_CACHED_BODY_LENGTH = 2_000

const JSON_TYPE = /^application\/json(; ?charset=utf-8)?$/i

/** Content type of the response, by the usual values of `Accept`; Yoga negotiates all others. */
const ACCEPTED_TYPES: ReadonlyMap<string, string> = new Map([
  ['*/*', 'application/json; charset=utf-8'],
  ['application/json', 'application/json; charset=utf-8'],
  ['application/graphql-response+json', 'application/graphql-response+json; charset=utf-8'],
  ['application/graphql-response+json, application/json', 'application/graphql-response+json; charset=utf-8'],
])

/** Returns the content type of the response, if the head of the request allows the fast path. */
export function fastPathMediaType({ method, url, headers }: IncomingMessage): string | undefined {
  const isPlain =
    method === 'POST' &&
    !url?.includes('?') &&
    headers['content-encoding'] === undefined &&
    JSON_TYPE.test(headers['content-type'] ?? '')
  return isPlain ? ACCEPTED_TYPES.get(headers.accept ?? '*/*') : undefined
}

/** A request that goes to Yoga, with its document if it is prepared. Nothing was executed. */
export interface LeftToYoga extends WithPrepared {
  readonly execute?: undefined
}

const UNREAD: LeftToYoga = {}

/** A request that is ready to be executed. */
interface Ready {
  /** Set where execution may find that the variables are not valid. */
  readonly prepared?: PreparedDocument
  readonly name: string | null
  readonly execute: PreparedOperation<RequestContext>
  /** Whether it may be cached, to be executed again. */
  readonly isPrepared: boolean
}

/** Executes the requests that take the fast path. */
export class FastPath {
  readonly #deps: FastPathDeps
  readonly #documents = new LRUCache<string, PreparedDocument>({
    maxSize: MAX_CACHED_QUERY_CHARS,
    maxEntrySize: MAX_CACHED_QUERY_LENGTH,
    sizeCalculation: (_document, query) => query.length,
  })
  /** By request body: a client sends the same request again and again. */
  readonly #preparedOperations = new LRUCache<string, Ready>({
    maxSize: MAX_CACHED_BODY_CHARS,
    maxEntrySize: MAX_CACHED_BODY_LENGTH,
    sizeCalculation: (_ready, body) => body.length,
  })

  constructor(deps: FastPathDeps) {
    this.#deps = deps
  }

  /** Returns the response to `body`, or what Yoga needs to respond where the request is not valid. */
  async respond(body: Buffer, context: RequestContext, type: string): Promise<PreparedResponse | LeftToYoga> {
    const text = body.toString('utf8')
    const known = this.#preparedOperations.get(text)
    const ready = known ?? this.#prepare(text)
    if (!ready.execute) return ready
    const startedAt = systemClock.monotonicMs()
    const result = await ready.execute(context)
    // Without data nothing was executed: the variables or the operation name are not valid.
    if (result.data === undefined) return ready.prepared ? { prepared: ready.prepared } : UNREAD
    // Cached only after a success: clients without a valid token must not evict the requests of others.
    if (!known && ready.isPrepared && !result.errors) this.#preparedOperations.set(text, ready)
    return toResponse(
      handleResult(this.#deps.resultHandlers, { name: ready.name, context, startedAt }, result),
      type,
    )
  }

  #prepare(text: string): Ready | LeftToYoga {
    const params = parseParams(text)
    if (!params) return UNREAD
    const prepared = this.#document(params.query)
    const { document, errors } = prepared
    if (!document || errors.length > 0) return { prepared }
    const { schema, execute } = this.#deps
    const { variables } = params
    // Some clients send an empty name for an anonymous operation.
    const operationName = params.operationName || null
    const operation = getOperationAST(document, operationName)
    if (operation?.operation === OperationTypeNode.SUBSCRIPTION) return { prepared }
    const name = operationNameOf(document, operationName)
    const preparedOperation = prepareOperation<RequestContext>(
      schema,
      document,
      operationName,
      variables ?? {},
    )
    if (preparedOperation) return { name, execute: preparedOperation, isPrepared: true }
    const variableValues = variables ?? null
    return {
      prepared,
      name,
      execute: async (contextValue) =>
        execute({ schema, document, contextValue, variableValues, operationName }),
      isPrepared: false,
    }
  }

  #document(query: string): PreparedDocument {
    const known = this.#documents.get(query)
    if (known) return known
    const prepared = this.#deps.prepare(query)
    if (prepared.errors.length === 0) this.#documents.set(query, prepared)
    return prepared
  }
}

interface FastPathParams {
  readonly query: string
  readonly variables?: Record<string, unknown> | null
  readonly operationName?: string | null
}

function parseParams(body: string): FastPathParams | undefined {
  let params: unknown
  try {
    params = JSON.parse(body)
  } catch {
    return undefined
  }
  return isFastPathParams(params) ? params : undefined
}

function isFastPathParams(params: unknown): params is FastPathParams {
  // Other members are ignored: some clients and proxies send an id.
  if (!isRecord(params)) return false
  const { query, variables, operationName, extensions } = params
  return (
    typeof query === 'string' &&
    (variables == null || (isRecord(variables) && !areVariablesTooLarge(variables))) &&
    (operationName == null || typeof operationName === 'string') &&
    (extensions == null || isRecord(extensions))
  )
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

interface HttpExtension {
  readonly status: number
  readonly headers: Record<string, string>
}

/** Builds a response as Yoga does: the highest status of all errors, the headers of each, and neither in the body. */
export function toResponse({ data, errors }: ExecutionResult, type: string): PreparedResponse {
  const body = JSON.stringify(errors ? { errors: errors.map(withoutHttp), data } : { data })
  const length = Buffer.byteLength(body)
  if (length > MAX_RESPONSE_BYTES) return tooLargeResponse(type)
  const https = errors?.map(({ extensions }) => extensions.http as HttpExtension | undefined) ?? []
  return {
    status: Math.max(200, ...https.map((http) => http?.status ?? 200)),
    headers: Object.assign(headersOf(type, length), ...https.map((http) => http?.headers)),
    body,
  }
}

/** Returns the response that replaces one whose JSON is too large. */
export function tooLargeResponse(type: string): PreparedResponse {
  const { code, message, facts } = responseTooLarge()
  const error = new GraphQLError(message, { extensions: { ...facts, code } })
  return toResponse({ errors: [error], data: null }, type)
}

const headersOf = (type: string, length: number): Record<string, string> => ({
  'Content-Type': type,
  'Content-Length': String(length),
  'Cache-Control': 'no-store',
})

function withoutHttp(error: GraphQLError): object {
  const { http: _http, ...extensions } = error.extensions
  return { ...error.toJSON(), extensions }
}
