import type { ObjectRef } from '@pothos/core'
import { formatCursor, type ListKind, type Page, type Position } from '../domain/page.ts'
import { builder } from './builder.ts'

/**
 * Connections as the Relay specification has them, with a `totalCount` that costs something only when
 * it is selected.
 */

/** A page, and a way to count the whole list that it is from. */
export interface Connection<Row> {
  readonly page: Page<Row>
  readonly count: () => Promise<number>
}

interface Edge<Row> {
  readonly cursor: string
  readonly node: Row
}

const PageInfo = builder
  .objectRef<{
    readonly hasNextPage: boolean
    readonly hasPreviousPage: boolean
    readonly startCursor: string | null
    readonly endCursor: string | null
  }>('PageInfo')
  .implement({
    description: 'Where a page stands in its list.',
    fields: (t) => ({
      hasNextPage: t.exposeBoolean('hasNextPage', {
        description: 'Whether the list goes on after this page.',
      }),
      hasPreviousPage: t.exposeBoolean('hasPreviousPage', {
        description: 'Whether the list begins before this page.',
      }),
      startCursor: t.exposeString('startCursor', {
        nullable: true,
        description: 'Cursor of the first edge.',
      }),
      endCursor: t.exposeString('endCursor', { nullable: true, description: 'Cursor of the last edge.' }),
    }),
  })

export interface ConnectionOptions<Row> {
  /** What the connection type is called, less `Connection`. */
  readonly name: string
  readonly kind: ListKind
  // biome-ignore lint/suspicious/noExplicitAny: the type parameters of the builder do not matter here.
  readonly node: ObjectRef<any, Row, Row>
  /** What the nodes are, in the plural. */
  readonly noun: string
  readonly positionOf: (row: Row) => Position
}

/** Defines `<name>Connection` and `<name>Edge`. */
export function defineConnection<Row>({ name, kind, node, noun, positionOf }: ConnectionOptions<Row>) {
  const toEdge = (row: Row): Edge<Row> => ({ cursor: formatCursor(kind, positionOf(row)), node: row })

  const edge = builder.objectRef<Edge<Row>>(`${name}Edge`).implement({
    description: `One of the ${noun}, and where it stands.`,
    fields: (t) => ({
      cursor: t.exposeString('cursor', { description: 'For after and before; opaque.' }),
      node: t.field({
        type: node,
        description: `One of the ${noun}.`,
        resolve: (parent) => parent.node as never,
      }),
    }),
  })

  return builder.objectRef<Connection<Row>>(`${name}Connection`).implement({
    description: `A page of ${noun}, newest first.`,
    fields: (t) => ({
      edges: t.field({
        type: [edge],
        description: 'The page.',
        resolve: ({ page }) => page.rows.map(toEdge),
      }),
      nodes: t.field({
        type: [node],
        description: 'The page, without the cursors.',
        resolve: ({ page }) => [...page.rows] as never,
      }),
      pageInfo: t.field({
        type: PageInfo,
        description: 'Where the page stands in the list.',
        resolve: ({ page: { rows, ...info } }) => {
          const edges = rows.map(toEdge)
          return { ...info, startCursor: edges[0]?.cursor ?? null, endCursor: edges.at(-1)?.cursor ?? null }
        },
      }),
      totalCount: t.int({
        description: `How many ${noun} the whole list holds. Counted only when selected.`,
        resolve: ({ count }) => count(),
      }),
    }),
  })
}

/** The arguments of every connection. */
export const pageArguments = builder.args((t) => ({
  first: t.int({ description: 'Page size, counted from the start: 1 to 500. Default: 50.' }),
  after: t.string({ description: 'A cursor: the page begins behind it.' }),
  last: t.int({ description: 'Page size, counted from the end: 1 to 500. Not together with first.' }),
  before: t.string({ description: 'A cursor: the page ends before it.' }),
}))
