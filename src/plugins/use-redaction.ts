import { isAsyncIterable, type Plugin } from 'graphql-yoga'
import { redact } from '../domain/token.ts'

/** Redacts what is said of queries that are not executed: the words are those of graphql-js. */
export const useRedaction = (): Plugin => ({
  onResultProcess: ({ result }) => {
    if (isAsyncIterable(result) || Array.isArray(result)) return
    for (const error of result.errors ?? []) error.message = redact(error.message)
  },
})
