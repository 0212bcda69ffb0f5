import type { DocumentNode, ExecutionResult } from 'graphql'
import { isAsyncIterable, type Plugin } from 'graphql-yoga'
import type { RequestContext } from '../schema/context.ts'

/** An operation that is being executed. */
export interface Operation {
  readonly document: DocumentNode
  readonly operationName: string | null | undefined
  readonly context: RequestContext
  /** By `performance.now()`, in milliseconds. */
  readonly startedAt: number
}

/** What is done with every result before it goes out. Answers with the result that goes on to the next. */
export type Finisher = (operation: Operation, result: ExecutionResult) => ExecutionResult

/** Applies finishers in their order. */
export const finish = (
  finishers: readonly Finisher[],
  operation: Operation,
  result: ExecutionResult,
): ExecutionResult => finishers.reduce((previous, finisher) => finisher(operation, previous), result)

/** Applies finishers to what Yoga executes. */
export const useFinishers = (finishers: readonly Finisher[]): Plugin<RequestContext> => ({
  onExecute: ({ args }) => {
    const { document, operationName, contextValue: context } = args
    const operation: Operation = { document, operationName, context, startedAt: performance.now() }
    return {
      onExecuteDone: ({ result, setResult }) => {
        if (!isAsyncIterable(result)) setResult(finish(finishers, operation, result))
      },
    }
  },
})
