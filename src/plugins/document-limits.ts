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
 * Bounds on a document that hold before it is validated: to validate and to execute cost more than the length of the
 * document where its fragments hold each other.
 */

/** Deep enough for a token's children's children and their histories, page fields included. */
const MAX_DEPTH = 20

/** Aliases multiply the work that one operation may ask for. */
const MAX_ALIASES = 30

/** Selections of one set, with those of its fragments and of the equal fields that it is merged with. */
const MAX_SELECTIONS_PER_SET = 300

/** Selections of a document with every fragment written out: no more than could be written out without them. */
const MAX_SELECTIONS = 1_000

type Executable = OperationDefinitionNode | FragmentDefinitionNode

/** The fragments of a document, by name. */
export type Fragments = ReadonlyMap<string, FragmentDefinitionNode>

export const fragmentsOf = ({ definitions }: DocumentNode): Fragments =>
  new Map(
    definitions.flatMap((definition) =>
      definition.kind === Kind.FRAGMENT_DEFINITION ? [[definition.name.value, definition]] : [],
    ),
  )

/** The selection set of a fragment, whether it is named or in place; `undefined` where there is none of that name. */
export const setOf = (
  fragment: Exclude<SelectionNode, { kind: Kind.FIELD }>,
  fragments: Fragments,
): SelectionSetNode | undefined =>
  fragment.kind === Kind.INLINE_FRAGMENT
    ? fragment.selectionSet
    : fragments.get(fragment.name.value)?.selectionSet

/** What is wrong with a document by itself, whatever the schema; `undefined` where it may be validated. */
export function findExcess(document: DocumentNode): GraphQLError | undefined {
  const { definitions } = document
  if (!definitions.every(isExecutable)) {
    return new GraphQLError('A document may hold operations and fragments only.')
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
 * The operations, and the fragments that none of them holds: what they hold is all of the document.
 *
 * @throws {GraphQLError} Written out they are too long, or without an end. Each fragment is looked into once.
 */
function rootsWithin(definitions: readonly Executable[], fragments: Fragments): Executable[] {
  const counts = new Map<FragmentDefinitionNode, number | 'under way'>()
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
    if (known === 'under way') {
      throw new GraphQLError(`Fragment "${fragment.name.value}" holds itself.`, { nodes: fragment })
    }
    if (known !== undefined) return known
    counts.set(fragment, 'under way')
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
      `The document has more than ${MAX_SELECTIONS} selections, with each fragment counted wherever it is spread.`,
    )
  }
  return roots
}

/** Goes through all that an operation selects, as it is executed: fragments in place, equal fields as one. */
class Walk {
  readonly #fragments: Fragments
  #aliases = 0

  constructor(fragments: Fragments) {
    this.#fragments = fragments
  }

  /**
   * @param sets Selection sets of equal fields.
   * @throws {GraphQLError} There is too much in them.
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

  /** Files the sets below the fields of `set` by the names of these; returns how many selections it has. */
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
