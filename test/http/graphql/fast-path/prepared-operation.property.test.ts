import fc from 'fast-check'
import {
  buildSchema,
  type ExecutionResult,
  execute,
  type GraphQLError,
  type GraphQLResolveInfo,
  type GraphQLSchema,
  parse,
  validate,
} from 'graphql'
import { expect, test, vi } from 'vitest'
import { prepareOperation } from '../../../../src/http/graphql/fast-path/prepared-operation.ts'

// Work of a few seconds, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 120_000 })

/** How a resolver returns its value. `turns`: of the event loop, until a promise settles. */
interface Behaviour {
  readonly how: 'value' | 'promise' | 'thenable' | 'throws' | 'rejects' | 'error' | 'promise of error'
  readonly value: unknown
  readonly turns: number
}

interface LeafField {
  readonly type: string
  readonly behaviour: Behaviour
}

interface Schema {
  readonly leaves: readonly LeafField[]
  readonly root: Behaviour
  readonly isRootNonNull: boolean
}

type Selection =
  | { readonly kind: 'leaf'; readonly index: number; readonly alias: string; readonly directive: string }
  | { readonly kind: 'other'; readonly text: string }
  | {
      readonly kind: 'inline' | 'spread'
      readonly condition: string
      readonly directive: string
      readonly inner: readonly Selection[]
    }

interface Arguments {
  readonly text: string
  readonly declared: readonly string[]
  readonly variables: fc.Arbitrary<Record<string, unknown>>
}

interface Context {
  /** The resolvers that were called, each with what it was given. */
  readonly calls: unknown[]
}

/** Good values of each leaf type; a few others are drawn for every type. */
const GOOD_VALUES: Readonly<Record<string, readonly unknown[]>> = {
  ID: ['x', 7],
  Int: [3, true],
  Float: [1.5, 2],
  String: ['text', 4, false],
  Boolean: [true, 0],
  Colour: ['RED', 'GREEN'],
  Odd: ['odd', 5],
}
const BAD_VALUES = ['BLUE', 'bad', 'nothing', Number.NaN, {}, Symbol.for('symbol')]
const ABSENT_VALUES = [null, undefined]

const sometimes = <T>(usual: fc.Arbitrary<T>, rare: fc.Arbitrary<T>, weight = 6): fc.Arbitrary<T> =>
  fc.oneof({ weight, arbitrary: usual }, { weight: 1, arbitrary: rare })

const leafValue = (name: string): fc.Arbitrary<unknown> =>
  sometimes(
    fc.constantFrom(...(GOOD_VALUES[name] ?? [])),
    fc.constantFrom<unknown>(...BAD_VALUES, ...ABSENT_VALUES, new Error('returned')),
    4,
  )

/** Values of lists: usually arrays, some of promises; also what is iterable in other ways, or not at all. */
const listValue = (name: string): fc.Arbitrary<unknown> => {
  const items = fc.array(sometimes(leafValue(name), fc.constantFrom(...ABSENT_VALUES), 9), { maxLength: 3 })
  return fc.oneof(
    { weight: 6, arbitrary: items },
    { weight: 1, arbitrary: items.map((values) => new Set(values)) },
    // Made for each call: a promise that rejects must be awaited in the same turn.
    { weight: 2, arbitrary: items.map((values) => () => values.map(async (value) => value)) },
    { weight: 3, arbitrary: fc.constantFrom<unknown>('text', 5, { length: 2 }, ...ABSENT_VALUES) },
  )
}

const behaviour = (value: fc.Arbitrary<unknown>): fc.Arbitrary<Behaviour> =>
  fc.record({
    how: fc.oneof(
      { weight: 8, arbitrary: fc.constant('value' as const) },
      { weight: 4, arbitrary: fc.constantFrom('promise' as const, 'thenable' as const) },
      {
        weight: 3,
        arbitrary: fc.constantFrom(
          'throws' as const,
          'rejects' as const,
          'error' as const,
          'promise of error' as const,
        ),
      },
    ),
    value,
    turns: fc.nat(3),
  })

const leafField: fc.Arbitrary<LeafField> = fc
  .tuple(
    fc.constantFrom(...Object.keys(GOOD_VALUES)),
    sometimes(fc.constantFrom('T', 'T!', '[T!]', '[T!]!'), fc.constantFrom('[T]', '[[T!]!]'), 12),
  )
  .chain(([name, shape]) =>
    behaviour(shape.startsWith('[') ? listValue(name) : leafValue(name)).map((behaviour) => ({
      type: shape.replace('T', name),
      behaviour,
    })),
  )

const schemas: fc.Arbitrary<Schema> = fc.record({
  leaves: fc.array(leafField, { minLength: 1, maxLength: 5 }),
  root: behaviour(sometimes(fc.constant<unknown>({}), fc.constantFrom<unknown>(...ABSENT_VALUES, 5))),
  isRootNonNull: fc.boolean(),
})

const directives = sometimes(
  fc.constant(''),
  fc.constantFrom('@skip(if: $flag)', '@include(if: $flag)', '@include(if: true)', '@skip(if: false)'),
  25,
)

const selections: fc.Arbitrary<readonly Selection[]> = fc.letrec<{
  one: Selection
  all: readonly Selection[]
}>((tie) => ({
  one: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    {
      weight: 12,
      arbitrary: fc.record({
        kind: fc.constant('leaf' as const),
        index: fc.nat(4),
        // Names of the response are most often different, so that an operation can be prepared.
        alias: sometimes(
          fc.integer({ min: 0, max: 999 }).map((number) => `a${number}`),
          fc.constantFrom('', '__proto__', 'constructor'),
        ),
        directive: directives,
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('other' as const),
        text: fc.constantFrom('__typename', 'kind: __typename', 'part { __typename }', 'scaled(by: 3)'),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constantFrom('inline' as const, 'spread' as const),
        condition: sometimes(fc.constantFrom('on Thing', ''), fc.constant('on Named'), 9),
        directive: directives,
        inner: tie('all'),
      }),
    },
  ),
  all: fc.array(tie('one'), { minLength: 1, maxLength: 4 }),
})).all

const ARGUMENTS: readonly Arguments[] = [
  { text: '', declared: [], variables: fc.constant({ unused: 1 }) },
  { text: '(count: 3, colours: [RED])', declared: [], variables: fc.constant({}) },
  {
    text: '(id: $id)',
    declared: ['$id: ID'],
    variables: fc.record({ id: fc.constantFrom(5, 'x', null) }, { requiredKeys: [] }),
  },
  {
    text: '(id: $id, count: $count)',
    declared: ['$id: ID! = "default"', '$count: Int'],
    variables: fc.record({ id: fc.constant('given'), count: fc.constantFrom(1, null) }, { requiredKeys: [] }),
  },
  {
    text: '(colours: [RED, $colour])',
    declared: ['$colour: Colour!'],
    variables: fc.record({ colour: fc.constantFrom('GREEN', 'GREEN', 'BLUE') }),
  },
]

const requests = fc.record({
  operation: fc.constantFrom('query', 'query', 'mutation'),
  name: fc.constantFrom('thing', 'it: thing', '__proto__: thing'),
  selections,
  rest: sometimes(fc.constant(''), fc.constantFrom('word', '__typename'), 12),
  directive: directives,
  asked: fc
    .constantFrom(...ARGUMENTS)
    .chain(({ text, declared, variables }) => variables.map((values) => ({ text, declared, values }))),
  flag: fc.constantFrom(undefined, true, false),
})

type Request = typeof requests extends fc.Arbitrary<infer R> ? R : never

/** Writes a request as a document. Each spread gets a fragment of its own. */
function toDocument({ operation, name, selections, rest, directive, asked }: Request, leafCount: number) {
  const fragments: string[] = []
  const write = (selection: Selection): string => {
    if (selection.kind === 'other') return selection.text
    if (selection.kind === 'leaf') {
      const alias = selection.alias && `${selection.alias}: `
      return `${alias}f${selection.index % leafCount} ${selection.directive}`
    }
    const inner = selection.inner.map(write).join(' ')
    if (selection.kind === 'inline') return `... ${selection.condition} ${selection.directive} { ${inner} }`
    const fragment = `F${fragments.length}`
    fragments.push(`fragment ${fragment} ${selection.condition || 'on Thing'} { ${inner} }`)
    return `...${fragment} ${selection.directive}`
  }
  const body = `${name}${asked.text} ${directive} { ${selections.map(write).join(' ')} } ${rest}`
  const usesFlag = [body, ...fragments].some((text) => text.includes('$flag'))
  const declared = [...asked.declared, ...(usesFlag ? ['$flag: Boolean! = true'] : [])]
  const variables = declared.length > 0 ? `(${declared.join(', ')})` : ''
  return parse([`${operation} Named ${variables} { ${body} }`, ...fragments].join('\n'))
}

async function wait(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

function behave({ how, value: given, turns }: Behaviour): unknown {
  const value = typeof given === 'function' ? given() : given
  const later = async () => {
    await wait(turns)
    if (how === 'rejects') throw new Error('rejected')
    return how === 'promise of error' ? new Error('resolved') : value
  }
  if (how === 'value') return value
  if (how === 'throws') throw new Error('thrown')
  if (how === 'error') return new Error('returned')
  // biome-ignore lint/suspicious/noThenProperty: what is tested
  if (how === 'thenable') return { then: (...handlers: []) => later().then(...handlers) }
  return later()
}

function makeSchema({ leaves, root, isRootNonNull }: Schema): GraphQLSchema {
  const fields = `thing(id: ID, count: Int = 2, colours: [Colour!]): Thing${isRootNonNull ? '!' : ''} word: String`
  const schema = buildSchema(
    `
    enum Colour { RED GREEN }
    scalar Odd
    interface Named { __: String ${leaves.map(({ type }, index) => `f${index}: ${type}`).join(' ')} part: Thing scaled(by: Int): Int }
    type Thing implements Named { __: String ${leaves.map(({ type }, index) => `f${index}: ${type}`).join(' ')} part: Thing scaled(by: Int): Int }
    type Query { ${fields} }
    type Mutation { ${fields} }`.replaceAll('__: String ', ''),
  )
  const odd = schema.getType('Odd')
  Object.assign(odd ?? {}, {
    serialize: (value: unknown) => {
      if (value === 'bad') throw new Error('not odd')
      return value === 'nothing' ? undefined : { odd: String(value) }
    },
  })
  const record = ({ calls }: Context, args: unknown, { path, fieldName, parentType }: GraphQLResolveInfo) =>
    calls.push(JSON.stringify([args, path, fieldName, parentType]))
  const thing = schema.getType('Thing')
  const members = thing && 'getFields' in thing ? thing.getFields() : {}
  for (const [index, { behaviour }] of leaves.entries()) {
    Object.assign(members[`f${index}`] ?? {}, {
      resolve: (_source: unknown, args: unknown, context: Context, info: GraphQLResolveInfo) => {
        record(context, args, info)
        return behave(behaviour)
      },
    })
  }
  for (const type of [schema.getQueryType(), schema.getMutationType()]) {
    Object.assign(type?.getFields().thing ?? {}, {
      resolve: (_source: unknown, args: unknown, context: Context, info: GraphQLResolveInfo) => {
        record(context, args, info)
        return behave(root)
      },
    })
  }
  return schema
}

/** What a client sees of a result, and of each error also its cause, which is logged. */
const show = ({ data, errors }: ExecutionResult): string =>
  JSON.stringify({ errors: errors?.map(showError), data }, undefined, 1)

function showError(error: GraphQLError): object {
  const { message, ...rest } = error.toJSON()
  // graphql-js quotes the value here, by a function that it does not export.
  const shown = message.startsWith('Expected `Odd.serialize(') ? 'Odd serialized nothing' : message
  return { message: shown, ...rest, cause: error.originalError?.constructor.name }
}

test('a prepared operation over any schema calls the resolvers that graphql-js calls, and returns its data and its errors in their order', async () => {
  const seen = { prepared: 0, failed: 0, others: 0 }
  await fc.assert(
    fc.asyncProperty(schemas, requests, async (definition, request) => {
      const schema = makeSchema(definition)
      const document = toDocument(request, definition.leaves.length)
      fc.pre(validate(schema, document).length === 0)
      const variableValues = {
        ...request.asked.values,
        ...(request.flag !== undefined && { flag: request.flag }),
      }
      const prepared = prepareOperation<Context>(schema, document, 'Named', variableValues)
      if (!prepared) {
        seen.others += 1
        return
      }
      const expectedCalls: unknown[] = []
      const expected = await execute({
        schema,
        document,
        variableValues,
        contextValue: { calls: expectedCalls },
      })
      seen.prepared += 1
      if (expected.errors) seen.failed += 1
      // Twice: nothing of one request is left for the next.
      for (const calls of [[], []]) {
        const result = await prepared({ calls })
        expect(show(result)).toBe(show(expected))
        expect(calls).toEqual(expectedCalls)
      }
    }),
    { numRuns: 1_500 },
  )
  // Both kinds of operations and both kinds of results came up.
  expect(seen.prepared).toBeGreaterThan(300)
  expect(seen.failed).toBeGreaterThan(100)
  expect(seen.prepared - seen.failed).toBeGreaterThan(50)
  expect(seen.others).toBeGreaterThan(50)
})
