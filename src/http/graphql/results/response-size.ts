import {
  defaultFieldResolver,
  type GraphQLFieldResolver,
  type GraphQLResolveInfo,
  type GraphQLSchema,
  isObjectType,
  TypeNameMetaFieldDef,
} from 'graphql'
import { PorthorError } from '../../../domain/errors.ts'

/** Largest response, in bytes. */
export const MAX_RESPONSE_BYTES = 8_000_000

/** Values of a response: a small value costs as much time as a large one, and a response of `[1,1,1,…` has millions. */
const MAX_RESPONSE_VALUES = 200_000

/** Bytes of a field besides its name and its value: `"":,`. */
const FIELD_BYTES = 4

/** Bytes that each value takes at least, besides the characters of a string. */
const VALUE_BYTES = 2

// biome-ignore lint/suspicious/noExplicitAny: graphql-js types the source and the context of a field so
type Resolver = GraphQLFieldResolver<any, any>

/** Lower bound of the response of one request so far: JSON escapes may add to it. */
interface Size {
  bytes: number
  values: number
}

const sizes = new WeakMap<object, Size>()

/** Original resolvers, by the resolvers that count. */
const uncounted = new WeakMap<Resolver, Resolver>()

/** Returns the original of a resolver that counts, for callers whose responses are too small to be counted. */
export const withoutCounting = (resolver: Resolver): Resolver => uncounted.get(resolver) ?? resolver

export const responseTooLarge = (): PorthorError =>
  new PorthorError(
    'RESPONSE_TOO_LARGE',
    `The response would be larger than ${MAX_RESPONSE_BYTES} bytes or ${MAX_RESPONSE_VALUES} values: select fewer fields or smaller pages.`,
    { facts: { maximumBytes: MAX_RESPONSE_BYTES, maximumValues: MAX_RESPONSE_VALUES } },
  )

/** Whether the response to the request with this context became too large during execution. */
export const isResponseTooLarge = (context: object): boolean => isOver(sizes.get(context))

const isOver = (size: Size | undefined): boolean =>
  size !== undefined && (size.bytes > MAX_RESPONSE_BYTES || size.values > MAX_RESPONSE_VALUES)

/**
 * Wraps every resolver of the schema to count what it adds to the response, and to throw once that is too much.
 * graphql-js has no other place for it: it returns a response only when it is complete. The introspection fields belong to
 * graphql-js and all its schemas, so a request without a context is not counted.
 */
export function countResponses(schema: GraphQLSchema): GraphQLSchema {
  const fields = Object.values(schema.getTypeMap()).flatMap((type) =>
    isObjectType(type) ? Object.values(type.getFields()) : [],
  )
  for (const field of [...fields, TypeNameMetaFieldDef]) {
    const { resolve = defaultFieldResolver } = field
    if (!uncounted.has(resolve)) field.resolve = counting(resolve)
  }
  return schema
}

function counting(resolve: Resolver): Resolver {
  const resolver: Resolver = (source, args, context, info) => {
    if (typeof context !== 'object' || context === null) return resolve(source, args, context, info)
    const size = sizeOf(context)
    if (isOver(size)) throw responseTooLarge()
    const value: unknown = resolve(source, args, context, info)
    return isThenable(value)
      ? value.then((resolved) => counted(resolved, size, info))
      : counted(value, size, info)
  }
  uncounted.set(resolver, resolve)
  return resolver
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'

function sizeOf(context: object): Size {
  const known = sizes.get(context)
  if (known) return known
  const size = { bytes: 0, values: 0 }
  sizes.set(context, size)
  return size
}

function counted(value: unknown, size: Size, { path }: GraphQLResolveInfo): unknown {
  size.bytes += String(path.key).length + FIELD_BYTES
  count(value, size)
  if (isOver(size)) throw responseTooLarge()
  return value
}

function count(value: unknown, size: Size): void {
  size.values += 1
  size.bytes += typeof value === 'string' ? value.length + VALUE_BYTES : VALUE_BYTES
  if (Array.isArray(value)) for (const item of value) count(item, size)
}
