import {
  type FieldNode,
  type GraphQLResolveInfo,
  getArgumentValues,
  getNamedType,
  isObjectType,
  Kind,
  type SelectionSetNode,
} from 'graphql'

/**
 * Returns the arguments of every selection of `name` right below the field that is being resolved. A mutation checks with
 * it what its result fields would refuse too late.
 */
export function argumentsBelow(info: GraphQLResolveInfo, name: string): Record<string, unknown>[] {
  const type = getNamedType(info.returnType)
  const field = isObjectType(type) ? type.getFields()[name] : undefined
  if (!field) throw new TypeError(`${type.name} has no field ${name}`)
  return info.fieldNodes
    .flatMap(({ selectionSet }) => [...fieldsOf(selectionSet, info, new Set())])
    .filter((node) => node.name.value === name)
    .map((node) => getArgumentValues(field, node, info.variableValues))
}

/** @param seen Names of fragments already visited: fragments may spread each other any number of times. */
function* fieldsOf(
  set: SelectionSetNode | undefined,
  info: GraphQLResolveInfo,
  seen: Set<string>,
): Generator<FieldNode> {
  for (const selection of set?.selections ?? []) {
    if (selection.kind === Kind.FIELD) yield selection
    else if (selection.kind === Kind.INLINE_FRAGMENT) yield* fieldsOf(selection.selectionSet, info, seen)
    else if (!seen.has(selection.name.value)) {
      seen.add(selection.name.value)
      yield* fieldsOf(info.fragments[selection.name.value]?.selectionSet, info, seen)
    }
  }
}
