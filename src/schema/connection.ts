import type { ObjectRef } from '@pothos/core'
import { formatCursor, type ListKind, type Page, type Position } from '../domain/page.ts'
import { builder } from './builder.ts'

/** Connections of the Relay specification, with a `totalCount` that is queried only when it is selected. */

/** A page, and a function that counts the whole list. */
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
    description: 'Position of a page in its list.',
    fields: (t) => ({
      hasNextPage: t.exposeBoolean('hasNextPage', {
        description: 'Whether the list has items after this page.',
      }),
      hasPreviousPage: t.exposeBoolean('hasPreviousPage', {
        description: 'Whether the list has items before this page.',
      }),
      startCursor: t.exposeString('startCursor', {
        nullable: true,
        description: 'Cursor of the first edge; null if the page is empty.',
      }),
      endCursor: t.exposeString('endCursor', {
        nullable: true,
        description: 'Cursor of the last edge; null if the page is empty.',
      }),
    }),
  })

export interface ConnectionOptions<Row> {
  /** Name of the connection type, without `Connection`. */
  readonly name: string
  readonly kind: ListKind
  // biome-ignore lint/suspicious/noExplicitAny: the type parameters of the builder do not matter here.
  readonly node: ObjectRef<any, Row, Row>
  /** Word for one node, for descriptions, and for many. */
  readonly noun: string
  readonly plural: string
  readonly positionOf: (row: Row) => Position
}

/** Defines `<name>Connection` and `<name>Edge`. */
export function defineConnection<Row>({
  name,
  kind,
  node,
  noun,
  plural,
  positionOf,
}: ConnectionOptions<Row>) {
  const toEdge = (row: Row): Edge<Row> => ({ cursor: formatCursor(kind, positionOf(row)), node: row })

  const edge = builder.objectRef<Edge<Row>>(`${name}Edge`).implement({
    description: `A ${noun} and its cursor.`,
    fields: (t) => ({
      cursor: t.exposeString('cursor', { description: 'Opaque cursor, for the arguments after and before.' }),
      node: t.field({
        type: node,
        description: `The ${noun}.`,
        resolve: (parent) => parent.node as never,
      }),
    }),
  })

  return builder.objectRef<Connection<Row>>(`${name}Connection`).implement({
    description: `A page of ${plural}, newest first.`,
    fields: (t) => ({
      edges: t.field({
        type: [edge],
        description: `The ${plural} of the page, each with its cursor.`,
        resolve: ({ page }) => page.rows.map(toEdge),
      }),
      nodes: t.field({
        type: [node],
        description: `The ${plural} of the page, without cursors.`,
        resolve: ({ page }) => [...page.rows] as never,
      }),
      pageInfo: t.field({
        type: PageInfo,
        description: 'Position of the page in the list.',
        resolve: ({ page: { rows, ...info } }) => {
          const edges = rows.map(toEdge)
          return { ...info, startCursor: edges[0]?.cursor ?? null, endCursor: edges.at(-1)?.cursor ?? null }
        },
      }),
      totalCount: t.int({
        description: `Number of ${plural} in the whole list. Counted only when selected.`,
        resolve: ({ count }) => count(),
      }),
    }),
  })
}

/** Arguments of every connection. */
export const pageArguments = builder.args((t) => ({
  first: t.int({ description: 'Page size, from the start of the list: 1 to 500. Default: 50.' }),
  after: t.string({ description: 'Cursor that the page begins after.' }),
  last: t.int({
    description: 'Page size, from the end of the list: 1 to 500. Must not be given together with first.',
  }),
  before: t.string({ description: 'Cursor that the page ends before.' }),
}))
