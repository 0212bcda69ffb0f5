import { GraphQLError, Kind } from 'graphql'
import { DateTimeResolver } from 'graphql-scalars'
import type { NumericId } from '../domain/token.ts'
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

const LARGEST_64 = 2n ** 63n - 1n

/** Not that of graphql-scalars: it rounds what a variable holds beyond 2^53, and writes to the console. */
export const BigInteger = builder.scalarType('BigInt', {
  description:
    'An integer that may exceed the 32 bits of Int. It is a JSON number up to 9007199254740991 (2^53 - 1), and beyond, where many JSON parsers round, a string of digits. Input is up to 64 bits: a JSON number up to 2^53 - 1, a string of digits, or an integer in the document.',
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
  if (value > LARGEST_64 || value < -LARGEST_64 - 1n) throw notBigInt()
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

const notBigInt = (): GraphQLError =>
  new GraphQLError(
    'BigInt must be an integer of up to 64 bits; in JSON a number up to 9007199254740991, beyond that a string of digits.',
  )
