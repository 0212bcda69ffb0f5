import {
  type DefinitionNode,
  type DocumentNode,
  type FragmentDefinitionNode,
  GraphQLError,
  Kind,
  type OperationDefinitionNode,
  type SelectionNode,
  type SelectionSetNode,
} from 'graphql'

/**
 * Limits on a document that are checked before its validation. Where fragments contain each other, validation and
 * execution cost far more than the length of the document suggests.
 */

/** Deep enough for the grandchildren of a token with their history, page fields included. */
const MAX_DEPTH = 20

/** Aliases multiply the work of one operation. */
const MAX_ALIASES = 30

/** Selections of one set, including those of its fragments and of the equal fields that it is merged with. */
const MAX_SELECTIONS_PER_SET = 300

/** Selections of a document with every fragment expanded: no more than a document without fragments could have. */
const MAX_SELECTIONS = 1_000

type Executable = OperationDefinitionNode | FragmentDefinitionNode

/** Fragments of a document, by name. */
export type Fragments = ReadonlyMap<string, FragmentDefinitionNode>

export const fragmentsOf = ({ definitions }: DocumentNode): Fragments =>
  new Map(
    definitions.flatMap((definition) =>
      definition.kind === Kind.FRAGMENT_DEFINITION ? [[definition.name.value, definition]] : [],
    ),
  )

/** Returns the selection set of a named or inline fragment; `undefined` if there is no fragment of that name. */
export const setOf = (
  fragment: Exclude<SelectionNode, { kind: Kind.FIELD }>,
  fragments: Fragments,
): SelectionSetNode | undefined =>
  fragment.kind === Kind.INLINE_FRAGMENT
    ? fragment.selectionSet
    : fragments.get(fragment.name.value)?.selectionSet

/** Returns the limit that a document exceeds, whatever the schema; `undefined` if it may be validated. */
export function findExcess(document: DocumentNode): GraphQLError | undefined {
  const { definitions } = document
  if (!definitions.every(isExecutable)) {
    return new GraphQLError('A document may contain only operations and fragments.')
  }
  const fragments = fragmentsOf(document)
  try {
    const roots = rootsWithin(definitions, fragments)
    for (const { selectionSet } of roots) new Walk(fragments).enter([selectionSet], 1)
    return undefined
  } catch (error) {
    if (error instanceof GraphQLError) return error
    throw error
  }
}

const isExecutable = (definition: DefinitionNode): definition is Executable =>
  definition.kind === Kind.OPERATION_DEFINITION || definition.kind === Kind.FRAGMENT_DEFINITION

/**
 * Returns the operations, and the fragments that no operation uses: together they contain the whole document. Visits each
 * fragment once.
 *
 * @throws {GraphQLError} Expanded, the document is too long or infinite.
 */
function rootsWithin(definitions: readonly Executable[], fragments: Fragments): Executable[] {
  const counts = new Map<FragmentDefinitionNode, number | 'in progress'>()
  const countSet = ({ selections }: SelectionSetNode): number =>
    selections.reduce((count, selection) => count + 1 + countBelow(selection), 0)
  const countBelow = (selection: SelectionNode): number => {
    if (selection.kind !== Kind.FRAGMENT_SPREAD) {
      return selection.selectionSet ? countSet(selection.selectionSet) : 0
    }
    const fragment = fragments.get(selection.name.value)
    return fragment ? countFragment(fragment) : 0
  }
  const countFragment = (fragment: FragmentDefinitionNode): number => {
    const known = counts.get(fragment)
    if (known === 'in progress') {
      throw new GraphQLError(`Fragment "${fragment.name.value}" contains itself.`, { nodes: fragment })
    }
    if (known !== undefined) return known
    counts.set(fragment, 'in progress')
    const count = countSet(fragment.selectionSet)
    counts.set(fragment, count)
    return count
  }

  const roots: Executable[] = definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION)
  let total = roots.reduce((count, { selectionSet }) => count + countSet(selectionSet), 0)
  for (const definition of definitions) {
    if (definition.kind !== Kind.FRAGMENT_DEFINITION || counts.has(definition)) continue
    total += countFragment(definition)
    roots.push(definition)
  }
  if (total > MAX_SELECTIONS) {
    throw new GraphQLError(
      `The document has more than ${MAX_SELECTIONS} selections, where a fragment counts each time that it is spread.`,
    )
  }
  return roots
}

/** Visits the selections of an operation as its execution does: fragments expanded, equal fields merged. */
class Walk {
  readonly #fragments: Fragments
  #aliases = 0

  constructor(fragments: Fragments) {
    this.#fragments = fragments
  }

  /**
   * @param sets Selection sets of equal fields.
   * @throws {GraphQLError} A limit is exceeded.
   */
  enter(sets: readonly SelectionSetNode[], depth: number): void {
    if (depth > MAX_DEPTH) throw new GraphQLError(`The document is more than ${MAX_DEPTH} fields deep.`)
    const below = new Map<string, SelectionSetNode[]>()
    const count = sets.reduce((sum, set) => sum + this.#collect(set, below), 0)
    if (count > MAX_SELECTIONS_PER_SET) {
      throw new GraphQLError(`A field has more than ${MAX_SELECTIONS_PER_SET} selections below it.`)
    }
    if (this.#aliases > MAX_ALIASES) {
      throw new GraphQLError(`The document has more than ${MAX_ALIASES} aliases.`)
    }
    for (const each of below.values()) this.enter(each, depth + 1)
  }

  /** Adds the sets below the fields of `set` to `below`, by response name; returns the number of selections. */
  #collect({ selections }: SelectionSetNode, below: Map<string, SelectionSetNode[]>): number {
    let count = selections.length
    for (const selection of selections) {
      if (selection.kind !== Kind.FIELD) {
        const set = setOf(selection, this.#fragments)
        if (set) count += this.#collect(set, below)
        continue
      }
      const { alias, name, selectionSet } = selection
      if (alias) this.#aliases += 1
      if (!selectionSet) continue
      const responseName = (alias ?? name).value
      const equal = below.get(responseName)
      if (equal) equal.push(selectionSet)
      else below.set(responseName, [selectionSet])
    }
    return count
  }
}
