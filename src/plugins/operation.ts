import { type DocumentNode, type ExecutionResult, getOperationAST } from 'graphql'
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
    const name = operationNameOf(document, operationName)
    const operation: Operation = { name, context, startedAt: performance.now() }
    return {
      onExecuteDone: ({ result, setResult }) => {
        if (!isAsyncIterable(result)) setResult(finish(finishers, operation, result))
      },
    }
  },
})
