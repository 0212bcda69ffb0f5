import { formatCursor, type ListKind, type Page, type Position } from '../domain/page.ts'
import { builder } from './builder.ts'

/** Connections of the Relay specification, with a `totalCount` that is queried only when it is selected. */

builder.globalConnectionField('totalCount', (t) =>
  t.int({
    description: 'Number of items in the whole list. Counted only when selected.',
    resolve: ({ count }) => count(),
  }),
)

/** A list of which a page is shown. */
export interface PagedList<Row> {
  readonly kind: ListKind
  readonly positionOf: (row: Row) => Position
  /** Counts the whole list. */
  readonly count: () => Promise<number>
}

/** Returns a page as a connection. */
export function toConnection<Row>({ rows, ...info }: Page<Row>, { kind, positionOf, count }: PagedList<Row>) {
  const edges = rows.map((node) => ({ node, cursor: formatCursor(kind, positionOf(node)) }))
  const cursors = { startCursor: edges[0]?.cursor ?? null, endCursor: edges.at(-1)?.cursor ?? null }
  return { edges, pageInfo: { ...info, ...cursors }, count }
}
