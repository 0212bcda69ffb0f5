import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  type DocumentNode,
  type ExecutionResult,
  execute,
  type GraphQLError,
  type GraphQLSchema,
} from 'graphql'
import { LRUCache } from 'lru-cache'
import { type Finisher, finish, type Operation } from './plugins/operation.ts'
import type { RequestContext } from './schema/context.ts'

/**
 * A short way for what clients send all day: a POST of JSON that holds one valid operation. Whatever else
 * arrives is left to Yoga, so that GraphQL over HTTP has one full implementation here and not two.
 *
 * @see https://graphql.github.io/graphql-over-http/draft/
 */

export interface PlainPostDeps {
  readonly schema: GraphQLSchema
  /** Parses and validates as Yoga does; `undefined` for what is not valid. */
  readonly prepare: (query: string, operationName: string | undefined) => DocumentNode | undefined
  readonly finishers: readonly Finisher[]
}

/** An answer, ready to be written. */
export interface PlainAnswer {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: string
}

/** Documents kept after parsing and validating: many times the operations that any client has. */
const MOST_DOCUMENTS = 1_000

/** Longest query whose document is kept, in characters: nobody shall fill the memory with blanks. */
const LONGEST_KEPT_QUERY = 10_000

const JSON_TYPE = /^application\/json(; ?charset=utf-8)?$/i

/** What a client that takes JSON sends; anything more refined is weighed by Yoga. */
const ACCEPTED_TYPES: Readonly<Record<string, string>> = {
  '*/*': 'application/json; charset=utf-8',
  'application/json': 'application/json; charset=utf-8',
  'application/graphql-response+json': 'application/graphql-response+json; charset=utf-8',
  'application/graphql-response+json, application/json': 'application/graphql-response+json; charset=utf-8',
}

/** The media type of the answer, where the request is a plain one as far as its head tells. */
export function plainAnswerType({ method, url, headers }: IncomingMessage): string | undefined {
  const isPlain =
    method === 'POST' &&
    !url?.includes('?') &&
    headers['content-encoding'] === undefined &&
    JSON_TYPE.test(headers['content-type'] ?? '')
  return isPlain ? ACCEPTED_TYPES[headers.accept ?? '*/*'] : undefined
}

/** Executes plain operations. */
export class PlainPost {
  readonly #deps: PlainPostDeps
  readonly #documents = new LRUCache<string, DocumentNode>({ max: MOST_DOCUMENTS })

  constructor(deps: PlainPostDeps) {
    this.#deps = deps
  }

  /** The answer to `body`; `undefined` where it is for Yoga to say what is wrong with it. Nothing was executed then. */
  async answer(body: Buffer, context: RequestContext, type: string): Promise<PlainAnswer | undefined> {
    const params = parseParams(body)
    const document = params && this.#document(params)
    if (!document) return undefined
    const { variables, operationName } = params
    const operation: Operation = { document, operationName, context, startedAt: performance.now() }
    const result = await execute({
      schema: this.#deps.schema,
      document,
      contextValue: context,
      variableValues: variables ?? null,
      operationName: operationName ?? null,
    })
    // Without data nothing was executed: the variables or the name did not fit.
    if (result.data === undefined) return undefined
    return toAnswer(finish(this.#deps.finishers, operation, result), type)
  }

  #document({ query, operationName }: PlainParams): DocumentNode | undefined {
    const known = this.#documents.get(query)
    if (known) return known
    const document = this.#deps.prepare(query, operationName ?? undefined)
    if (document && query.length <= LONGEST_KEPT_QUERY) this.#documents.set(query, document)
    return document
  }
}

interface PlainParams {
  readonly query: string
  readonly variables?: Record<string, unknown> | null
  readonly operationName?: string | null
}

const PARAM_NAMES: ReadonlySet<string> = new Set(['query', 'variables', 'operationName', 'extensions'])

function parseParams(body: Buffer): PlainParams | undefined {
  let params: unknown
  try {
    params = JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
  return isPlainParams(params) ? params : undefined
}

function isPlainParams(params: unknown): params is PlainParams {
  if (!isRecord(params) || !Object.keys(params).every((name) => PARAM_NAMES.has(name))) return false
  const { query, variables, operationName, extensions } = params
  return (
    typeof query === 'string' &&
    (variables == null || isRecord(variables)) &&
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

/** As Yoga does: the gravest status of all errors, the headers of each, and neither in the body. */
function toAnswer({ data, errors }: ExecutionResult, type: string): PlainAnswer {
  const https = errors?.map(({ extensions }) => extensions.http as HttpExtension | undefined) ?? []
  const body = JSON.stringify({ ...(errors && { errors: errors.map(withoutHttp) }), data })
  return {
    status: Math.max(200, ...https.map((http) => http?.status ?? 200)),
    headers: Object.assign(
      {
        'Content-Type': type,
        'Content-Length': String(Buffer.byteLength(body)),
        'Cache-Control': 'no-store',
      },
      ...https.map((http) => http?.headers),
    ),
    body,
  }
}

function withoutHttp(error: GraphQLError): object {
  const { http: _http, ...extensions } = error.extensions
  return { ...error.toJSON(), extensions }
}

/** Writes an answer. */
export function writeAnswer(response: ServerResponse, { status, headers, body }: PlainAnswer): void {
  response.writeHead(status, headers).end(body)
}
