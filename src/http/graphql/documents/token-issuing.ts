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

/** Returns the names of the mutations that return a bearer string: their type has a field `token`. */
export const tokenIssuingFields = (schema: GraphQLSchema): ReadonlySet<string> =>
  new Set(
    Object.values(schema.getMutationType()?.getFields() ?? {}).flatMap(({ name, type }) => {
      const returned = getNamedType(type)
      return isObjectType(returned) && 'token' in returned.getFields() ? [name] : []
    }),
  )

/**
 * Returns an error for a document with an operation that issues more than one token. If one of its fields failed, the
 * response would lose the bearer strings of the tokens that were issued before.
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
        'An operation may issue only one token: if one field failed, the tokens of the others would be lost. Send one operation for each token.',
        { nodes: definition, extensions: { code: 'BAD_USER_INPUT' } },
      )
    }
  }
  return undefined
}

/** Adds the response names of the fields that issue a token: fields of the same name are executed once. */
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

/**
 * Whether a literal condition excludes the selection. One that depends on a variable counts as selected: a document is
 * checked once for all requests.
 */
const isNeverSelected = (directives: readonly DirectiveNode[] | undefined): boolean =>
  directives?.some(({ name, arguments: given }) => {
    const value = given?.find((argument) => argument.name.value === 'if')?.value
    if (value?.kind !== Kind.BOOLEAN) return false
    return name.value === (value.value ? 'skip' : 'include')
  }) ?? false
