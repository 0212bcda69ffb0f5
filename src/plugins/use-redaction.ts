import { isAsyncIterable, type Plugin } from 'graphql-yoga'

const BEARER_STRING = /gt-[\w-]{22}\.[\w-]{22}/g

/** `message` without bearer strings: clients put them where they do not belong, and messages quote what was sent. */
export const redact = (message: string): string => message.replace(BEARER_STRING, 'gt-…')

/** Redacts what is said of queries that are not executed: the words are those of graphql-js. */
export const useRedaction = (): Plugin => ({
  onResultProcess: ({ result }) => {
    if (isAsyncIterable(result) || Array.isArray(result)) return
    for (const error of result.errors ?? []) error.message = redact(error.message)
  },
})
