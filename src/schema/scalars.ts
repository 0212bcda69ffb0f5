import { GraphQLError, Kind } from 'graphql'
import { DateTimeResolver } from 'graphql-scalars'
import type { NumericId } from '../domain/token.ts'
import { builder } from './builder.ts'

export const DateTime = builder.scalarType('DateTime', {
  description:
    'A time in ISO 8601 (RFC 3339), in UTC, such as 2026-01-31T12:00:00.000Z. Input may have another offset.',
  specifiedByURL: 'https://scalars.graphql.org/andimarek/date-time.html',
  serialize: (date) => date.toISOString(),
  parseValue: (value) => {
    try {
      return DateTimeResolver.parseValue(value)
    } catch {
      throw new GraphQLError(
        'DateTime must be a time in ISO 8601 with an offset, such as 2026-01-31T12:00:00Z.',
      )
    }
  },
})

const MAX_INT64 = 2n ** 63n - 1n

/** The type of graphql-scalars is not used: it rounds variables beyond 2^53, and writes to the console. */
export const BigInteger = builder.scalarType('BigInt', {
  description:
    'An integer that may exceed the 32 bits of Int. Output is a JSON number up to 9007199254740991 (2^53 - 1), and a string of digits beyond, where many JSON parsers round. Input is an integer of up to 64 bits: a JSON number up to 2^53 - 1, a string of digits, or a literal in the document.',
  serialize: (value) => (typeof value === 'bigint' ? String(value) : value),
  parseValue: (value) => {
    if (typeof value === 'number' && Number.isSafeInteger(value)) return value
    if (typeof value === 'string') return parseInteger(value)
    throw notBigInt()
  },
  parseLiteral: (node) => {
    if (node.kind === Kind.INT || node.kind === Kind.STRING) return parseInteger(node.value)
    throw notBigInt()
  },
})

function parseInteger(text: string): NumericId {
  if (!/^-?\d{1,19}$/.test(text)) throw notBigInt()
  const value = BigInt(text)
  if (value > MAX_INT64 || value < -MAX_INT64 - 1n) throw notBigInt()
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

const notBigInt = (): GraphQLError =>
  new GraphQLError(
    'BigInt must be an integer of up to 64 bits: in JSON a number up to 9007199254740991, and a string of digits beyond.',
  )
