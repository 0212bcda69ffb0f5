import SchemaBuilder from '@pothos/core'
import PrismaPlugin from '@pothos/plugin-prisma'
import type { NumericId } from '../domain/token.ts'
import type PrismaTypes from '../generated/pothos.ts'
import { getDatamodel } from '../generated/pothos.ts'
import type { RequestContext } from './request-context.ts'

/** The schema builder, with its types and plugins. Other files define the schema with it. */
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

builder.queryType({ description: 'Read operations. Every field requires a valid token.' })
builder.mutationType({ description: 'Write operations. Every field requires a valid token.' })
