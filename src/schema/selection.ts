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
 * The arguments of every selection of `name` right below the field that is being resolved: for what must be
 * known before that field does anything.
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

/** @param seen Fragments that were looked into already: each may be spread any number of times in each other. */
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
