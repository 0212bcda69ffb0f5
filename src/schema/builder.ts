import SchemaBuilder from '@pothos/core'
import PrismaPlugin from '@pothos/plugin-prisma'
import type { NumericId } from '../domain/token.ts'
import type PrismaTypes from '../generated/pothos.ts'
import { getDatamodel } from '../generated/pothos.ts'
import type { RequestContext } from './context.ts'

/** The one schema builder. Knows types and plugins; defines nothing of the schema itself. */
export const builder = new SchemaBuilder<{
  Context: RequestContext
  DefaultFieldNullability: false
  PrismaTypes: PrismaTypes
  Scalars: {
    BigInt: { Input: NumericId; Output: NumericId }
    DateTime: { Input: Date; Output: Date }
    ID: { Input: string; Output: string }
  }
}>({
  defaultFieldNullability: false,
  plugins: [PrismaPlugin],
  prisma: { client: ({ prisma }) => prisma, dmmf: getDatamodel(), onUnusedQuery: 'error' },
})

builder.queryType({ description: 'What can be asked. Every field needs a valid token.' })
builder.mutationType({ description: 'What can be changed. Every field needs a valid token.' })
