import {
  type DocumentNode,
  defaultFieldResolver,
  type ExecutionResult,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLError,
  type GraphQLField,
  type GraphQLObjectType,
  type GraphQLResolveInfo,
  type GraphQLSchema,
  getArgumentValues,
  getNullableType,
  getOperationAST,
  getVariableValues,
  isListType,
  isNonNullType,
  isObjectType,
  Kind,
  locatedError,
  type SelectionSetNode,
  TypeNameMetaFieldDef,
} from 'graphql'
import { withoutCounting } from '../results/response-size.ts'
import { type Complete, completer, isPromise, type Location, nullError } from './leaf-values.ts'

// biome-ignore lint/suspicious/noExplicitAny: graphql-js types the source and the context of a field so
type Field = GraphQLField<any, any>
type Fragments = Readonly<Record<string, FragmentDefinitionNode>>
type Path = GraphQLResolveInfo['path']
type Variables = Readonly<Record<string, unknown>>

/** A field of a selection, with its response name. */
interface Selected {
  readonly name: string
  readonly node: FieldNode
  readonly field: Field
}

/** A field whose value is a leaf of the response. */
interface Leaf extends Selected {
  readonly info: GraphQLResolveInfo
  readonly resolve: Field['resolve'] & {}
  readonly complete: Complete
  /** Where the leaf is in the response. */
  readonly location: Location
}

/** Executes a prepared operation. */
export type PreparedOperation<Context> = (context: Context) => Promise<ExecutionResult>

/**
 * Prepares an operation that selects one object of leaf values, as every delegation does. Most of the work of graphql-js
 * for such a request has the same result each time: the selected fields and the variables. It is done here once; only
 * resolving and serializing remain for each request.
 *
 * The result equals that of `execute` in graphql-js.
 *
 * @param document Validated against the schema.
 * @returns `undefined` for other operations and for variables that are not valid: both need `execute`.
 * @see https://spec.graphql.org/October2021/#sec-Execution
 */
export function prepareOperation<Context>(
  schema: GraphQLSchema,
  document: DocumentNode,
  operationName: string | null | undefined,
  variables: Variables,
): PreparedOperation<Context> | undefined {
  const operation = getOperationAST(document, operationName)
  const parentType = operation && schema.getRootType(operation.operation)
  if (!operation || !parentType || operation.operation === 'subscription') return undefined
  const fragments: Record<string, FragmentDefinitionNode> = {}
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments[definition.name.value] = definition
  }
  const [root, ...others] = select(operation.selectionSet, parentType, fragments) ?? []
  const objectType = root && getNullableType(root.field.type)
  if (!isObjectType(objectType) || objectType.isTypeOf || others.length > 0) return undefined
  const selected = root?.node.selectionSet && select(root.node.selectionSet, objectType, fragments)
  if (!selected) return undefined
  // No error is collected: each quotes the whole value that it is in, and `execute` reports it.
  const { coerced } = getVariableValues(schema, operation.variableDefinitions ?? [], variables, {
    maxErrors: 0,
    hideSuggestions: true,
  })
  if (!coerced) return undefined

  const common = { schema, fragments, operation, variableValues: coerced, rootValue: undefined }
  const infoOf = ({ name, node, field }: Selected, type: GraphQLObjectType, prev?: Path) => ({
    ...common,
    fieldName: field.name,
    fieldNodes: [node],
    returnType: field.type,
    parentType: type,
    path: { prev, key: name, typename: type.name },
  })
  const info = infoOf(root, parentType)
  const leaves: Leaf[] = []
  for (const leaf of selected) {
    const field = `${objectType.name}.${leaf.field.name}`
    const location: Location = { node: leaf.node, path: [root.name, leaf.name], field }
    const complete = completer(leaf.field.type, location)
    // Arguments of a leaf would need coercion; no leaf of the delegations has any.
    if (!complete || leaf.field.args.length > 0) return undefined
    const leafInfo = infoOf(leaf, objectType, info.path)
    leaves.push({ ...leaf, complete, resolve: resolverOf(leaf), info: leafInfo, location })
  }
  // The size of the response is not counted here, so no list may be selected more than once.
  const lists = leaves.flatMap(({ field }) => (isListType(getNullableType(field.type)) ? [field] : []))
  if (new Set(lists).size < lists.length) return undefined
  try {
    return executor(root, getArgumentValues(root.field, root.node, coerced), info, leaves)
  } catch {
    return undefined
  }
}

/** A response with one object is too small to be counted. */
const resolverOf = ({ field }: Selected) => withoutCounting(field.resolve ?? defaultFieldResolver)

/** Returns the fields of a selection, fragments included; `undefined` if a directive or another type decides on some. */
function select(
  { selections }: SelectionSetNode,
  type: GraphQLObjectType,
  fragments: Fragments,
): Selected[] | undefined {
  const found = new Map<string, Selected>()
  for (const selection of selections) {
    const selected = selection.directives?.length ? undefined : expand(selection, type, fragments)
    for (const each of selected ?? [undefined]) {
      if (!each || found.has(each.name)) return undefined
      found.set(each.name, each)
    }
  }
  return [...found.values()]
}

function expand(
  selection: SelectionSetNode['selections'][number],
  type: GraphQLObjectType,
  fragments: Fragments,
): Selected[] | undefined {
  if (selection.kind === Kind.FIELD) {
    const { name, alias } = selection
    const field =
      name.value === TypeNameMetaFieldDef.name ? TypeNameMetaFieldDef : type.getFields()[name.value]
    return field && [{ name: (alias ?? name).value, node: selection, field }]
  }
  const fragment = selection.kind === Kind.FRAGMENT_SPREAD ? fragments[selection.name.value] : selection
  const condition = fragment?.typeCondition?.name.value ?? type.name
  return fragment && condition === type.name ? select(fragment.selectionSet, type, fragments) : undefined
}

function executor<Context>(
  root: Selected,
  args: Record<string, unknown>,
  info: GraphQLResolveInfo,
  leaves: readonly Leaf[],
): PreparedOperation<Context> {
  const resolve = resolverOf(root)
  const isNullable = !isNonNullType(root.field.type)
  return async (context) => {
    const errors: GraphQLError[] = []
    try {
      const source = await resolve(undefined, args, context, info)
      if (source instanceof Error) throw source
      if (source == null) {
        if (isNullable) return { data: { [root.name]: null } }
        throw nullError(`${info.parentType.name}.${info.fieldName}`)
      }
      const object = completeObject(leaves, source, context, errors)
      const data = { [root.name]: object instanceof Promise ? await object : object }
      return errors.length > 0 ? { errors, data } : { data }
    } catch (error) {
      const located = locatedError(error, [root.node], [root.name])
      // A copy: leaves that are still pending may add errors, of values that are not in the response.
      return { errors: [...errors, located], data: isNullable ? { [root.name]: null } : null }
    }
  }
}

/** Resolves all leaves at once, as graphql-js does; waits only where one of them is a promise. Throws, or rejects, for a null. */
function completeObject(
  leaves: readonly Leaf[],
  source: unknown,
  context: unknown,
  errors: GraphQLError[],
): object | Promise<object> {
  // Any name may be an alias, including `__proto__`.
  const object: Record<string, unknown> = Object.create(null)
  let hasPromise = false
  try {
    for (const leaf of leaves) {
      const value = completeLeaf(leaf, source, context, errors)
      object[leaf.name] = value
      hasPromise ||= isPromise(value)
    }
  } catch (error) {
    if (!hasPromise) throw error
    return settle(object).finally(() => {
      throw error
    })
  }
  return hasPromise ? settle(object) : object
}

/** Replaces the promises in an object by their values. */
async function settle(object: Record<string, unknown>): Promise<object> {
  const values = await Promise.all(Object.values(object))
  for (const [index, name] of Object.keys(object).entries()) object[name] = values[index]
  return object
}

function completeLeaf(leaf: Leaf, source: unknown, context: unknown, errors: GraphQLError[]): unknown {
  try {
    const value = leaf.resolve(source, {}, context, leaf.info)
    const completed = isPromise(value) ? value.then(leaf.complete) : leaf.complete(value)
    return isPromise(completed)
      ? completed.then(undefined, (error) => handleError(error, leaf, errors))
      : completed
  } catch (error) {
    return handleError(error, leaf, errors)
  }
}

/** Adds an error to `errors` and returns null for the value. Throws it where the leaf is non-null. */
function handleError(error: unknown, { location, field }: Leaf, errors: GraphQLError[]): null {
  const located = locatedError(error, [location.node], location.path)
  if (isNonNullType(field.type)) throw located
  errors.push(located)
  return null
}
