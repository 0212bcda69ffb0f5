import { buildSchema, execute, type GraphQLSchema, parse, validate } from 'graphql'
import { describe, expect, it } from 'vitest'
import { prepareOperation } from '../../../../src/http/graphql/fast-path/prepared-operation.ts'

/** Resolvers are members of what the parent gives; those of the root are in the context. */
function makeSchema(): GraphQLSchema {
  const schema = buildSchema(`
    enum Colour { RED GREEN }
    type Thing {
      id: ID!  size: Int!  colour: Colour  names: [String!]!  labels: [String!]  note: String  late: String!  sizes: [Int]
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
  const given: unknown[][] = [[], []]
  const context = (index: number): Context => ({
    give: (...facts) => {
      given[index]?.push(facts)
      return give(...facts)
    },
  })
  const prepared = prepareOperation<Context>(schema, document, name, variables)
  if (!prepared) throw new Error(`not prepared: ${query}`)
  const asked = { schema, document, variableValues: variables, operationName: name ?? null }
  const expected = await execute({ ...asked, contextValue: context(0) })
  const found = [await prepared(context(1)), await prepared(context(1))]
  expect(given[1]).toEqual([...(given[0] ?? []), ...(given[0] ?? [])])
  return { expected, found }
}

describe('a prepared operation', () => {
  it.each([
    ['with fields of every kind', '{ thing(id: 1) { id size colour names note late } }'],
    ['with aliases', '{ it: thing(id: "x") { a: id b: id kind: __typename } }'],
    ['with an alias that is special to JavaScript objects', '{ thing(id: 1) { __proto__: names id } }'],
    [
      'with variables and defaults',
      'query ($id: ID!, $s: [Int!] = [4]) { thing(id: $id, sizes: $s) { id } }',
    ],
    [
      'with a variable that has no value',
      'query ($id: ID! = 5, $deep: Boolean) { thing(id: $id, deep: $deep) { id } }',
    ],
    [
      'with fragments',
      'query { thing(id: 1) { ...F ... { size } } } fragment F on Thing { id ...G } fragment G on Thing { names }',
    ],
    ['that is a mutation', 'mutation { make(id: 1) { id late } }'],
    ['that is one of several in its document', 'query A { word } query B { thing(id: 2) { id } }', 'B'],
  ])('%s has the result of graphql-js', async (_what, query, name?: string) => {
    const { expected, found } = await both(query, async () => THING, { id: 9 }, name)
    expect(JSON.stringify(found)).toBe(JSON.stringify([expected, expected]))
    expect(expected.errors).toBeUndefined()
  })

  it.each<[string, string, () => unknown]>([
    ["the object's resolver throws", '{ thing(id: 1) { id } }', fail('no')],
    ['the resolver of a non-null object throws', 'mutation { make(id: 1) { id } }', fail('no')],
    ["the object's resolver rejects", '{ thing(id: 1) { id } }', async () => fail('no')()],
    ['the object is an Error', '{ thing(id: 1) { id } }', () => new Error('no')],
    ['the object is null', '{ thing(id: 1) { id } }', () => null],
    ['a non-null object is null', '{ sure { id } }', () => undefined],
    ['a non-null value is null', '{ thing(id: 1) { size id } }', () => ({ ...THING, size: null })],
    ['a non-null value of a non-null object is null', '{ sure { size } }', () => ({ ...THING, size: null })],
    [
      'a nullable value throws',
      '{ thing(id: 1) { id colour note } }',
      () => ({ ...THING, note: fail('no') }),
    ],
    [
      'a nullable value cannot be serialized',
      '{ thing(id: 1) { id colour } }',
      () => ({ ...THING, colour: 'BLUE' }),
    ],
    ['a non-null value cannot be serialized', '{ sure { size } }', () => ({ size: 'many' })],
    ['an item of a non-null list is null', '{ sure { names } }', () => ({ names: ['a', null] })],
    [
      'an item of a nullable list is null',
      '{ thing(id: 1) { id labels } }',
      () => ({ id: 1, labels: [null] }),
    ],
    ['a list is a string', '{ thing(id: 1) { id labels } }', () => ({ id: 1, labels: 'text' })],
    ['a value is an Error', '{ thing(id: 1) { id note } }', () => ({ id: 1, note: new Error('no') })],
    [
      'a non-null value fails after a nullable one',
      '{ thing(id: 1) { note size } }',
      () => ({ note: fail('first'), size: fail('second') }),
    ],
    [
      'a non-null value fails while another one is pending',
      '{ thing(id: 1) { note id colour size } }',
      () => ({ ...THING, note: async () => fail('late')(), colour: 'BLUE', size: 'many' }),
    ],
    ['a value rejects', '{ sure { id late } }', () => ({ ...THING, late: async () => fail('no')() })],
  ])('has the data and errors of graphql-js where %s', async (_what, query, give) => {
    const { expected, found } = await both(query, give, {})
    expect(JSON.stringify(found)).toBe(JSON.stringify([expected, expected]))
    expect(found[0]?.errors?.map(({ originalError }) => originalError?.message)).toEqual(
      expected.errors?.map(({ originalError }) => originalError?.message),
    )
  })

  it.each([
    ['has several fields', '{ thing(id: 1) { id } word }'],
    ['selects an object in the object', '{ thing(id: 1) { part { id } } }'],
    ['selects no object', '{ word }'],
    ['has a directive on a value', 'query ($id: Boolean! = true) { thing(id: 1) { id @include(if: $id) } }'],
    [
      'has a directive on a fragment',
      '{ thing(id: 1) { ...F @skip(if: true) id } } fragment F on Thing { size }',
    ],
    ['has a directive on the object', '{ thing(id: 1) @skip(if: true) { id } }'],
    ['selects one name twice', '{ thing(id: 1) { id id } }'],
    ['has arguments on a value', '{ thing(id: 1) { scaled(by: 3) } }'],
    ['selects a list of nullable items', '{ thing(id: 1) { sizes } }'],
    ['selects the schema', '{ __schema { description } }'],
    ['is a subscription', 'subscription { thing { id } }'],
    ['has variables that are not valid', 'query ($id: ID!) { thing(id: $id) { id } }'],
    [
      'is one of several in its document, and is not named by the request',
      'query A { word } query B { thing(id: 2) { id } }',
    ],
  ])('is not made of an operation that %s', (_what, query) => {
    const document = parse(query)
    expect(validate(schema, document)).toEqual([])
    expect(prepareOperation(schema, document, undefined, {})).toBeUndefined()
  })
})
