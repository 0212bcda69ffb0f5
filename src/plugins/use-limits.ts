import { maxAliasesPlugin } from '@escape.tech/graphql-armor-max-aliases'
import { maxDepthPlugin } from '@escape.tech/graphql-armor-max-depth'
import { maxTokensPlugin } from '@escape.tech/graphql-armor-max-tokens'
import type { Plugin } from 'graphql-yoga'

/** Deep enough for a token's children's children and their histories, page fields included. */
const DEEPEST = 20

/** Aliases multiply the work that one request may ask for. */
const MOST_ALIASES = 30

/** Words of a query; far above any that a person writes, far below one that takes long to read. */
const MOST_TOKENS = 2_000

/** Bounds what one query may cost before it is run. */
export const useLimits = (): Plugin => ({
  onPluginInit: ({ addPlugin }) => {
    addPlugin(maxTokensPlugin({ n: MOST_TOKENS }) as Plugin)
    addPlugin(maxDepthPlugin({ n: DEEPEST, ignoreIntrospection: true }) as Plugin)
    addPlugin(maxAliasesPlugin({ n: MOST_ALIASES }) as Plugin)
  },
})
