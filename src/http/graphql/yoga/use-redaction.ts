import { isAsyncIterable, type Plugin } from 'graphql-yoga'
import { boundMessage } from '../results/graphql-error.ts'

/** Redacts and cuts messages about documents that are not executed: graphql-js quotes them. */
export const useRedaction = (): Plugin => ({
  onResultProcess: ({ result }) => {
    if (isAsyncIterable(result) || Array.isArray(result)) return
    for (const error of result.errors ?? []) error.message = boundMessage(error.message)
  },
})
