import SchemaBuilder from '@pothos/core'
import PrismaPlugin from '@pothos/plugin-prisma'
import RelayPlugin from '@pothos/plugin-relay'
import type { NumericId } from '../domain/token.ts'
import type PrismaTypes from '../generated/pothos.ts'
import { getDatamodel } from '../generated/pothos.ts'
import type { RequestContext } from './request-context.ts'

/** Texts of connections: see the Relay specification. */
const relayOptions = {
  edgesFieldOptions: { nullable: { list: false, items: false } },
  nodeFieldOptions: { nullable: false },
  nodesOnConnection: { description: 'Items of the page, without cursors.' },
  cursorFieldOptions: { description: 'Opaque cursor, for the arguments after and before.' },
  pageInfoFieldOptions: { description: 'Position of the page in the list.' },
  pageInfoTypeOptions: { description: 'Position of a page in its list.' },
  hasNextPageFieldOptions: { description: 'Whether the list has items after this page.' },
  hasPreviousPageFieldOptions: { description: 'Whether the list has items before this page.' },
  startCursorFieldOptions: { description: 'Cursor of the first edge; null if the page is empty.' },
  endCursorFieldOptions: { description: 'Cursor of the last edge; null if the page is empty.' },
  firstArgOptions: { description: 'Page size, from the start of the list: 1 to 500. Default: 50.' },
  afterArgOptions: { description: 'Cursor that the page begins after.' },
  lastArgOptions: {
    description: 'Page size, from the end of the list: 1 to 500. Must not be given together with first.',
  },
  beforeArgOptions: { description: 'Cursor that the page ends before.' },
  nodeQueryOptions: false,
  nodesQueryOptions: false,
} as const

/** The schema builder, with its types and plugins. Other files define the schema with it. */
export const builder = new SchemaBuilder<{
  /** Counts the whole list of a connection. */
  Connection: { readonly count: () => Promise<number> }
  Context: RequestContext
  DefaultEdgesNullability: { list: false; items: false }
  DefaultFieldNullability: false
  PrismaTypes: PrismaTypes
  Scalars: {
    BigInt: { Input: NumericId; Output: NumericId }
    DateTime: { Input: Date; Output: Date }
    ID: { Input: string; Output: string }
  }
}>({
  defaultFieldNullability: false,
  plugins: [PrismaPlugin, RelayPlugin],
  prisma: { client: ({ prisma }) => prisma, dmmf: getDatamodel(), onUnusedQuery: 'error' },
  relay: relayOptions,
})

builder.queryType({ description: 'Read operations. Every field requires a valid token.' })
builder.mutationType({ description: 'Write operations. Every field requires a valid token.' })
