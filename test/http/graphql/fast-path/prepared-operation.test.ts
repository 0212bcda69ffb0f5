import { buildSchema, execute, type GraphQLSchema, parse, validate } from 'graphql'
import { describe, expect, it } from 'vitest'
import { prepareOperation } from '../../../../src/http/graphql/fast-path/prepared-operation.ts'

/** Resolvers are members of what the parent gives; those of the root are in the context. */
function makeSchema(): GraphQLSchema {
  const schema = buildSchema(`
    enum Colour { RED GREEN }
    type Thing {
      id: ID!  size: Int!  colour: Colour  names: [String!]!  note: String  late: String!  sizes: [Int]
      scaled(by: Int = 2): Int  part: Thing
    }
    type Query { thing(id: ID!, sizes: [Int!] = [1], deep: Boolean): Thing  sure: Thing!  word: String }
    type Mutation { make(id: ID!): Thing! }
    type Subscription { thing: Thing }`)
  for (const type of [schema.getQueryType(), schema.getMutationType()]) {
    for (const field of Object.values(type?.getFields() ?? {})) {
      field.resolve = (_source, args, { give }: Context, info) =>
        give(args, info.path.key, info.operation.operation)
    }
  }
  return schema
}

interface Context {
  readonly give: (...facts: unknown[]) => unknown
}

const THING = {
  id: 7,
  size: 3,
  colour: 'GREEN',
  names: ['a', 'b'],
  note: null,
  late: async () => 'at last',
}

const fail = (message: string) => (): never => {
  throw new Error(message)
}

const schema = makeSchema()

async function both(query: string, give: Context['give'], variables: Record<string, unknown>, name?: string) {
  const document = parse(query)
  expect(validate(schema, document)).toEqual([])
  const told: unknown[][] = [[], []]
  const context = (index: number): Context => ({
    give: (...facts) => {
      told[index]?.push(facts)
      return give(...facts)
    },
  })
  const flat = prepareOperation<Context>(schema, document, name, variables)
  if (!flat) throw new Error(`not flat: ${query}`)
  const asked = { schema, document, variableValues: variables, operationName: name ?? null }
  const expected = await execute({ ...asked, contextValue: context(0) })
  const found = [await flat(context(1)), await flat(context(1))]
  expect(told[1]).toEqual([...(told[0] ?? []), ...(told[0] ?? [])])
  return { expected, found }
}

describe('a flat operation', () => {
  it.each([
    ['fields of every kind', '{ thing(id: 1) { id size colour names note late } }'],
    ['names of their own', '{ it: thing(id: "x") { a: id b: id kind: __typename } }'],
    ['a name that is special to objects', '{ thing(id: 1) { __proto__: names id } }'],
    ['variables and defaults', 'query ($id: ID!, $s: [Int!] = [4]) { thing(id: $id, sizes: $s) { id } }'],
    [
      'a variable that is not given',
      'query ($id: ID! = 5, $deep: Boolean) { thing(id: $id, deep: $deep) { id } }',
    ],
    [
      'fragments',
      'query { thing(id: 1) { ...F ... { size } } } fragment F on Thing { id ...G } fragment G on Thing { names }',
    ],
    ['a mutation', 'mutation { make(id: 1) { id late } }'],
    ['one of several operations', 'query A { word } query B { thing(id: 2) { id } }', 'B'],
  ])('of %s gives what graphql-js gives', async (_what, query, name?: string) => {
    const { expected, found } = await both(query, async () => THING, { id: 9 }, name)
    expect(JSON.stringify(found)).toBe(JSON.stringify([expected, expected]))
    expect(expected.errors).toBeUndefined()
  })

  it.each<[string, string, () => unknown]>([
    ['the root throws', '{ thing(id: 1) { id } }', fail('no')],
    ['a root that must not be null throws', 'mutation { make(id: 1) { id } }', fail('no')],
    ['the root rejects', '{ thing(id: 1) { id } }', async () => fail('no')()],
    ['the root is an error', '{ thing(id: 1) { id } }', () => new Error('no')],
    ['the root is null', '{ thing(id: 1) { id } }', () => null],
    ['a root that must not be null is', '{ sure { id } }', () => undefined],
    ['a value must not be null', '{ thing(id: 1) { size id } }', () => ({ ...THING, size: null })],
    ['a value of a root that must not be null is', '{ sure { size } }', () => ({ ...THING, size: null })],
    [
      'a value may be null and throws',
      '{ thing(id: 1) { id colour note } }',
      () => ({ ...THING, note: fail('no') }),
    ],
    ['a value cannot be written', '{ thing(id: 1) { id colour } }', () => ({ ...THING, colour: 'BLUE' })],
    ['a value that must be there cannot be written', '{ sure { size } }', () => ({ size: 'many' })],
    ['an item must not be null', '{ sure { names } }', () => ({ names: ['a', null] })],
    ['a value rejects', '{ sure { id late } }', () => ({ ...THING, late: async () => fail('no')() })],
  ])('gives the error of graphql-js where %s', async (_what, query, give) => {
    const { expected, found } = await both(query, give, {})
    const withoutIndex = (text: string) => JSON.parse(text.replace(/,[0-9]+\]/g, ']'))
    expect(withoutIndex(JSON.stringify(found))).toEqual(withoutIndex(JSON.stringify([expected, expected])))
    expect(found[0]?.errors?.map(({ originalError }) => originalError?.message)).toEqual(
      expected.errors?.map(({ originalError }) => originalError?.message),
    )
  })

  it.each([
    ['has several fields', '{ thing(id: 1) { id } word }'],
    ['has an object below', '{ thing(id: 1) { part { id } } }'],
    ['is no object', '{ word }'],
    [
      'depends on a variable in what it selects',
      'query ($id: Boolean! = true) { thing(id: 1) { id @include(if: $id) } }',
    ],
    [
      'depends on one in its fragments',
      '{ thing(id: 1) { ...F @skip(if: true) id } } fragment F on Thing { size }',
    ],
    ['depends on one in its field', '{ thing(id: 1) @skip(if: true) { id } }'],
    ['asks twice for one name', '{ thing(id: 1) { id id } }'],
    ['has arguments below', '{ thing(id: 1) { scaled(by: 3) } }'],
    ['has a list with gaps', '{ thing(id: 1) { sizes } }'],
    ['asks for the schema', '{ __schema { description } }'],
    ['subscribes', 'subscription { thing { id } }'],
    ['has variables that do not fit', 'query ($id: ID!) { thing(id: $id) { id } }'],
    ['is one of several and has no name', 'query A { word } query B { thing(id: 2) { id } }'],
  ])('is none that %s', (_what, query) => {
    const document = parse(query)
    expect(validate(schema, document)).toEqual([])
    expect(prepareOperation(schema, document, undefined, {})).toBeUndefined()
  })
})
