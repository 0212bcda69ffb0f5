import { GraphQLError } from 'graphql'
import { DateTimeResolver } from 'graphql-scalars'
import { builder } from './builder.ts'

export const DateTime = builder.scalarType('DateTime', {
  description:
    'A moment as ISO 8601 (RFC 3339) text in UTC, such as 2026-01-31T12:00:00.000Z. Input may carry another offset.',
  specifiedByURL: 'https://scalars.graphql.org/andimarek/date-time.html',
  serialize: (date) => date.toISOString(),
  parseValue: (value) => {
    try {
      return DateTimeResolver.parseValue(value)
    } catch {
      throw new GraphQLError('DateTime must be ISO 8601 with an offset, such as 2026-01-31T12:00:00Z.')
    }
  },
})
