import { GraphQLError } from 'graphql'
import type { GraphQLParams, Plugin } from 'graphql-yoga'
import { areVariablesTooLarge, MAX_MEMBERS } from '../documents/variable-limits.ts'

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const badRequest = (message: string): GraphQLError =>
  new GraphQLError(message, { extensions: { code: 'BAD_REQUEST', http: { status: 400 } } })

/**
 * Accepts what clients send beyond the specification: other members of the body, such as the `id` of Relay's network
 * layer, and an empty operation name. The response to a persisted query has the message on which Apollo's client and
 * others send whole queries from then on.
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
    // Yoga would ignore a misspelt member, and respond with status 200.
    if (typeof query !== 'string') throw badRequest('query must be a string: the GraphQL operation.')
    if (operationName != null && typeof operationName !== 'string') {
      throw badRequest('operationName must be a string, or be left out.')
    }
    if (areVariablesTooLarge(variables)) {
      throw badRequest(`An object in variables may have at most ${MAX_MEMBERS} members.`)
    }
    // Yoga refuses other members of a wrong type.
    setParams({ query, variables, operationName: operationName || undefined, extensions } as GraphQLParams)
  },
})
