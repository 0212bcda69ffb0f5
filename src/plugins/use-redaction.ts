import { isAsyncIterable, type Plugin } from 'graphql-yoga'
import { fitMessage } from './graphql-error.ts'

/** Redacts and cuts what is said of documents that are not executed: the words are those of graphql-js. */
export const useRedaction = (): Plugin => ({
  onResultProcess: ({ result }) => {
    if (isAsyncIterable(result) || Array.isArray(result)) return
    for (const error of result.errors ?? []) error.message = fitMessage(error.message)
  },
})
