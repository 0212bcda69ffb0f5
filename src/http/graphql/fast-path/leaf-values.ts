import {
  type FieldNode,
  GraphQLError,
  type GraphQLLeafType,
  type GraphQLOutputType,
  isLeafType,
  isListType,
  isNonNullType,
  locatedError,
} from 'graphql'

/** Serialization of leaf values as in graphql-js. @see https://spec.graphql.org/October2021/#sec-Value-Completion */

/** Serializes a resolved value. Throws for values that the type does not allow; returns a promise for lists of promises. */
export type Complete = (value: unknown) => unknown

export interface Location {
  readonly node: FieldNode
  readonly path: readonly [root: string, leaf: string]
  /** Type and field, as error messages have them. */
  readonly field: string
}

export const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'

/** Returns a serializer for a leaf type, or for a list of non-null leaves; `undefined` for other types. */
export function completer(type: GraphQLOutputType, location: Location): Complete | undefined {
  if (isNonNullType(type)) {
    const complete = completer(type.ofType, location)
    return (
      complete &&
      ((value) => {
        const completed = complete(value)
        if (completed === null) throw nullError(location.field)
        return completed
      })
    )
  }
  if (isListType(type)) {
    const isOfLeaves = isNonNullType(type.ofType) && isLeafType(type.ofType.ofType)
    const complete = isOfLeaves ? completer(type.ofType, location) : undefined
    return complete && listCompleter(complete, location)
  }
  return isLeafType(type) ? leafCompleter(type) : undefined
}

const leafCompleter =
  (type: GraphQLLeafType): Complete =>
  (value) => {
    if (value instanceof Error) throw value
    if (value == null) return null
    const serialized = type.serialize(value)
    if (serialized == null) throw new Error(`Expected \`${type}.serialize(…)\` to return a value.`)
    return serialized
  }

function listCompleter(complete: Complete, { node, path, field }: Location): Complete {
  const locate = (error: unknown, index: number): never => {
    throw locatedError(error, [node], [...path, index])
  }
  return (value) => {
    if (value instanceof Error) throw value
    if (value == null) return null
    if (!isIterable(value)) {
      throw new GraphQLError(`Expected Iterable, but did not find one for field "${field}".`)
    }
    let hasPromise = false
    const items = Array.from(value, (item, index) => {
      if (isPromise(item)) {
        hasPromise = true
        return item.then(complete).then(undefined, (error) => locate(error, index))
      }
      try {
        return complete(item)
      } catch (error) {
        return locate(error, index)
      }
    })
    return hasPromise ? Promise.all(items) : items
  }
}

/** Strings are no lists, though JavaScript iterates over them. */
const isIterable = (value: unknown): value is Iterable<unknown> =>
  typeof value === 'object' && value !== null && Symbol.iterator in value

export const nullError = (field: string): Error =>
  new Error(`Cannot return null for non-nullable field ${field}.`)
