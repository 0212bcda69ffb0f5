import {
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  execute,
  getOperationAST,
} from 'graphql'
import { isAsyncIterable, type Plugin } from 'graphql-yoga'
import type { RequestContext } from '../schema/context.ts'

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

/**
 * Executes by graphql-js. Where variables or the name of the operation do not fit, nothing is executed, which by
 * the specification of GraphQL over HTTP is a 400.
 */
export function executeOperation(args: ExecutionArgs): ReturnType<typeof execute> {
  const result = execute({ ...args, options: { maxCoercionErrors: MOST_VARIABLE_FAULTS } })
  if ('errors' in result && result.data === undefined) {
    for (const { extensions } of result.errors ?? []) extensions.http = { status: 400 }
  }
  return result
}

/** What is done with every result before it goes out. Answers with the result that goes on to the next. */
export type Finisher = (operation: Operation, result: ExecutionResult) => ExecutionResult

/** Applies finishers in their order. */
export const finish = (
  finishers: readonly Finisher[],
  operation: Operation,
  result: ExecutionResult,
): ExecutionResult => finishers.reduce((previous, finisher) => finisher(operation, previous), result)

/** Has what Yoga executes executed as by the short way, and applies finishers to it. */
export const useFinishers = (finishers: readonly Finisher[]): Plugin<RequestContext> => ({
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
