import {
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  execute,
  getOperationAST,
  locatedError,
} from 'graphql'
import { isAsyncIterable, type Plugin } from 'graphql-yoga'
import { systemClock } from '../../../lib/clock.ts'
import type { RequestContext } from '../../../schema/request-context.ts'
import { introspects } from '../documents/documents.ts'
import { isResponseTooLarge, responseTooLarge } from './response-size.ts'

/** An operation that is being executed. */
export interface Operation {
  /** Name in the document; `null` for an anonymous operation. */
  readonly name: string | null
  readonly context: RequestContext
  /** Time of `systemClock.monotonicMs()`, in milliseconds. */
  readonly startedAt: number
}

/** Returns the name of the operation that `operationName` selects; `null` for an anonymous one. */
export const operationNameOf = (
  document: DocumentNode,
  operationName: string | null | undefined,
): string | null => getOperationAST(document, operationName)?.name?.value ?? null

/**
 * Errors in the variables of one request that are reported. Each quotes the whole value that it is in: the 50 of
 * graphql-js, for a body full of unknown fields, take a second and make a response of 10 MB.
 */
const MAX_VARIABLE_ERRORS = 3

export interface ExecutorOptions {
  /** Whether an error suggests similar names. */
  readonly suggestions: boolean
  /** Whether introspection requires a valid token. */
  readonly introspectionNeedsToken: boolean
}

/** Executes as graphql-js does, in the context of a request. */
export type Execute = typeof execute

/**
 * Returns an executor that uses graphql-js. If variables or operation name are not valid, nothing is executed: status 400
 * by the specification of GraphQL over HTTP. A response that becomes too large is replaced by an error.
 */
export function createExecutor({ suggestions, introspectionNeedsToken }: ExecutorOptions): Execute {
  const run: Execute = (args) => {
    const result = execute({
      ...args,
      hideSuggestions: !suggestions,
      options: { maxCoercionErrors: MAX_VARIABLE_ERRORS },
    })
    return result instanceof Promise
      ? result.then((done) => bounded(done, contextOf(args)))
      : bounded(result, contextOf(args))
  }
  if (!introspectionNeedsToken) return run
  return (args) => {
    if (!introspects(args.document)) return run(args)
    return contextOf(args)
      .actor()
      .then(() => run(args), refused)
  }
}

const contextOf = ({ contextValue }: ExecutionArgs) => contextValue as RequestContext

const refused = (error: unknown): ExecutionResult => ({
  errors: [locatedError(error, undefined)],
  data: null,
})

function bounded(result: ExecutionResult, context: RequestContext): ExecutionResult {
  if (result.errors && result.data === undefined) {
    for (const { extensions } of result.errors) extensions.http = { status: 400 }
  }
  return isResponseTooLarge(context) ? refused(responseTooLarge()) : result
}

/** A step between execution and response. Returns the result for the next step. */
export type ResultHandler = (operation: Operation, result: ExecutionResult) => ExecutionResult

/** Applies resultHandlers in order. */
export const handleResult = (
  resultHandlers: readonly ResultHandler[],
  operation: Operation,
  result: ExecutionResult,
): ExecutionResult => resultHandlers.reduce((previous, handle) => handle(operation, previous), result)

/** Makes Yoga execute as the fast path does, and applies resultHandlers to the results. */
export const useResultHandlers = (
  executeOperation: Execute,
  resultHandlers: readonly ResultHandler[],
): Plugin<RequestContext> => ({
  onExecute: ({ args, setExecuteFn }) => {
    setExecuteFn(executeOperation)
    const { document, operationName, contextValue: context } = args
    const name = operationNameOf(document, operationName)
    const operation: Operation = { name, context, startedAt: systemClock.monotonicMs() }
    return {
      onExecuteDone: ({ result, setResult }) => {
        if (!isAsyncIterable(result)) setResult(handleResult(resultHandlers, operation, result))
      },
    }
  },
})
