import {
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  execute,
  getOperationAST,
  locatedError,
} from 'graphql'
import { isAsyncIterable, type Plugin } from 'graphql-yoga'
import type { RequestContext } from '../schema/context.ts'
import { introspects } from './documents.ts'
import { isResponseTooLarge, responseTooLarge } from './response-size.ts'

/** An operation that is being executed. */
export interface Operation {
  /** As its author named it; `null` for an anonymous one. */
  readonly name: string | null
  readonly context: RequestContext
  /** By `performance.now()`, in milliseconds. */
  readonly startedAt: number
}

/** The name of the operation that `operationName` picks from the document; `null` for an anonymous one. */
export const operationNameOf = (
  document: DocumentNode,
  operationName: string | null | undefined,
): string | null => getOperationAST(document, operationName)?.name?.value ?? null

/**
 * Variables of one request whose faults are told. Each fault quotes the whole of what it is in, and 50 of them,
 * as graphql-js would tell, of a body full of unknown fields take a second and make an answer of 10 MB.
 */
const MOST_VARIABLE_FAULTS = 3

export interface ExecutorOptions {
  /** Whether an error names what could have been meant. */
  readonly suggestions: boolean
  /** Whether only who has a valid token may ask for the schema. */
  readonly introspectionNeedsToken: boolean
}

/** Executes as graphql-js does, in the context of a request. */
export type Execute = typeof execute

/**
 * Executes by graphql-js. Where variables or the name of the operation do not fit, nothing is executed, which by
 * the specification of GraphQL over HTTP is a 400. Of a response that became too large nothing is left.
 */
export function createExecutor({ suggestions, introspectionNeedsToken }: ExecutorOptions): Execute {
  const run: Execute = (args) => {
    const result = execute({
      ...args,
      hideSuggestions: !suggestions,
      options: { maxCoercionErrors: MOST_VARIABLE_FAULTS },
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

/** What is done with every result before it goes out. Answers with the result that goes on to the next. */
export type Finisher = (operation: Operation, result: ExecutionResult) => ExecutionResult

/** Applies finishers in their order. */
export const finish = (
  finishers: readonly Finisher[],
  operation: Operation,
  result: ExecutionResult,
): ExecutionResult => finishers.reduce((previous, finisher) => finisher(operation, previous), result)

/** Has what Yoga executes executed as by the fast path, and applies finishers to it. */
export const useFinishers = (
  executeOperation: Execute,
  finishers: readonly Finisher[],
): Plugin<RequestContext> => ({
  onExecute: ({ args, setExecuteFn }) => {
    setExecuteFn(executeOperation)
    const { document, operationName, contextValue: context } = args
    const name = operationNameOf(document, operationName)
    const operation: Operation = { name, context, startedAt: performance.now() }
    return {
      onExecuteDone: ({ result, setResult }) => {
        if (!isAsyncIterable(result)) setResult(finish(finishers, operation, result))
      },
    }
  },
})
