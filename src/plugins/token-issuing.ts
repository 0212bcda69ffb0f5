import {
  type DirectiveNode,
  type DocumentNode,
  GraphQLError,
  type GraphQLSchema,
  getNamedType,
  isObjectType,
  Kind,
  OperationTypeNode,
  type SelectionSetNode,
} from 'graphql'
import { type Fragments, fragmentsOf, setOf } from './document-limits.ts'

/** Names of the mutations that return a bearer string: those of a type with a field `token`. */
export const tokenIssuingFields = (schema: GraphQLSchema): ReadonlySet<string> =>
  new Set(
    Object.values(schema.getMutationType()?.getFields() ?? {}).flatMap(({ name, type }) => {
      const returned = getNamedType(type)
      return isObjectType(returned) && 'token' in returned.getFields() ? [name] : []
    }),
  )

/**
 * What is wrong with a document of which an operation issues more than one token: when one of its fields fails, the
 * whole response is lost, and with it the bearer strings of the tokens that were issued before.
 */
export function findSecondToken(
  document: DocumentNode,
  issuing: ReadonlySet<string>,
): GraphQLError | undefined {
  const fragments = fragmentsOf(document)
  for (const definition of document.definitions) {
    if (definition.kind !== Kind.OPERATION_DEFINITION) continue
    if (definition.operation !== OperationTypeNode.MUTATION) continue
    const names = new Set<string>()
    collect(definition.selectionSet, fragments, issuing, names)
    if (names.size > 1) {
      return new GraphQLError(
        'An operation may issue one token only: when one field fails, the tokens of the others are lost. Send one operation for each.',
        { nodes: definition, extensions: { code: 'BAD_USER_INPUT' } },
      )
    }
  }
  return undefined
}

/** Adds the response names of the fields that issue a token: equal ones are executed as one. */
function collect(
  { selections }: SelectionSetNode,
  fragments: Fragments,
  issuing: ReadonlySet<string>,
  names: Set<string>,
): void {
  for (const selection of selections) {
    if (isNeverSelected(selection.directives)) continue
    if (selection.kind === Kind.FIELD) {
      const { alias, name } = selection
      if (issuing.has(name.value)) names.add((alias ?? name).value)
      continue
    }
    const set = setOf(selection, fragments)
    if (set) collect(set, fragments, issuing, names)
  }
}

/** By a literal condition. What depends on a variable counts as selected: a document is judged once for all requests. */
const isNeverSelected = (directives: readonly DirectiveNode[] | undefined): boolean =>
  directives?.some(({ name, arguments: given }) => {
    const value = given?.find((argument) => argument.name.value === 'if')?.value
    if (value?.kind !== Kind.BOOLEAN) return false
    return name.value === (value.value ? 'skip' : 'include')
  }) ?? false
