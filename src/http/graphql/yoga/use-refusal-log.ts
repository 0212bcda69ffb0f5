import type { IncomingMessage } from 'node:http'
import type { GraphQLError } from 'graphql'
import { isAsyncIterable, type Plugin } from 'graphql-yoga'
import type { RefusalLog } from '../../refusal-log.ts'

interface WithRequest {
  readonly req: IncomingMessage
}

/** Logs each request to which Yoga responds without an execution. */
export function useRefusalLog(
  log: RefusalLog,
  addressOf: (request: IncomingMessage) => string | undefined,
): Plugin<WithRequest, WithRequest> {
  const executed = new WeakSet<Request>()
  const firstErrors = new WeakMap<Request, GraphQLError>()
  return {
    onExecute: ({ args: { contextValue } }) => {
      executed.add(contextValue.request)
    },
    onResultProcess: ({ request, result }) => {
      if (isAsyncIterable(result) || Array.isArray(result)) return
      const error = result.errors?.[0] as GraphQLError | undefined
      if (error) firstErrors.set(request, error)
    },
    onResponse: ({ request, response: { status }, serverContext: { req } }) => {
      const error = firstErrors.get(request)
      if (executed.has(request) || (!error && status < 400)) return
      const ipAddress = addressOf(req) ?? null
      log.request({
        ipAddress,
        status,
        ...(error && { code: error.extensions.code, reason: error.message }),
      })
    },
  }
}
