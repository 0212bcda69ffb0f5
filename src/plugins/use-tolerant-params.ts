import { GraphQLError } from 'graphql'
import type { GraphQLParams, Plugin } from 'graphql-yoga'

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const badRequest = (message: string): GraphQLError =>
  new GraphQLError(message, { extensions: { code: 'BAD_REQUEST', http: { status: 400 } } })

/**
 * Takes what clients send beyond the specification: members of a body that are not for us, such as the `id` of Relay's
 * network layer, and an empty name of an operation. One that asks for a persisted query hears that there are none in
 * the words that make Apollo's and others send the whole query from then on.
 */
export const useTolerantParams = (): Plugin => ({
  onParams: ({ params, setParams }) => {
    if (!isRecord(params)) return
    const { query, variables, operationName, extensions } = params
    if (query == null && isRecord(extensions) && extensions.persistedQuery != null) {
      throw new GraphQLError('PersistedQueryNotSupported', {
        extensions: { code: 'PERSISTED_QUERY_NOT_SUPPORTED', http: { status: 200 } },
      })
    }
    // Yoga would take a misspelt member for one that is not for us, and say so with status 200.
    if (typeof query !== 'string') throw badRequest('query is required, as a string: the GraphQL operation.')
    if (operationName != null && typeof operationName !== 'string') {
      throw badRequest('operationName must be a string, or be left out.')
    }
    // What else is of another type than it must be, Yoga refuses.
    setParams({ query, variables, operationName: operationName || undefined, extensions } as GraphQLParams)
  },
})
