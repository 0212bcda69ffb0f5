import { GraphQLError } from 'graphql'
import { toResponse } from './graphql/fast-path/fast-path.ts'
import type { NoBody } from './read-body.ts'
import type { PreparedResponse } from './response.ts'

/** Responses to requests of which nothing is executed. */

const JSON_TYPE = 'application/json; charset=utf-8'

export const toRefusal = (errors: readonly GraphQLError[]): PreparedResponse =>
  toResponse({ errors }, JSON_TYPE)

/** @param http What the response needs beside the error: `status`, and `headers` where there are any. */
export const refuse = (
  code: string,
  message: string,
  http: object,
  extensions: object = {},
): PreparedResponse => toRefusal([new GraphQLError(message, { extensions: { code, ...extensions, http } })])

/** Returns the response to a request whose head is not valid. */
export const toBadRequest = (message: string): PreparedResponse =>
  refuse('BAD_REQUEST', message, { status: 400 })

/** Responses to requests whose bodies were not read. */
export const REFUSED_BODIES: Readonly<Record<Exclude<NoBody, 'aborted'>, PreparedResponse>> = {
  'too large': refuse(
    'REQUEST_ENTITY_TOO_LARGE',
    'The request body is too large, or has too many chunks: send at most 256 KiB, in at most 4,000 chunks.',
    { status: 413 },
  ),
  'no room': refuse(
    'UNAVAILABLE',
    'Too many request bodies are arriving. Nothing was executed: please try again.',
    { status: 503, headers: { 'Retry-After': '1' } },
    { retryable: true },
  ),
}
