import {
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLObjectType,
  type GraphQLSchema,
  getNamedType,
  isObjectType,
  isRequiredArgument,
} from 'graphql'
import { between, type Choices, chance, oneOf, several } from './choice.ts'
import { toJson, toLiteral, type Value, valueFor } from './values.ts'

/** What a GraphQL client sends. */
export interface Params {
  readonly query: string
  readonly variables: Readonly<Record<string, unknown>> | undefined
  readonly operationName: string | undefined
}

// biome-ignore lint/suspicious/noExplicitAny: graphql-js types the source and the context of a field so
type Field = GraphQLField<any, any>

const DEEPEST = 8

/** Makes valid and nearly valid documents over every field, argument and input type of a schema. */
export function documentOf(g: Choices, schema: GraphQLSchema): Params {
  return new Draft(g, schema).params()
}

class Draft {
  readonly #g: Choices
  readonly #schema: GraphQLSchema
  readonly #definitions: string[] = []
  readonly #fragments: string[] = []
  readonly #variables: Record<string, unknown> = {}
  /** Whether nothing in it may be wrong by the schema; what is asked for may be odd all the same. */
  readonly #isStrict: boolean
  #fieldsLeft = 40

  constructor(g: Choices, schema: GraphQLSchema) {
    this.#g = g
    this.#schema = schema
    this.#isStrict = !chance(g, 40)
  }

  params(): Params {
    const g = this.#g
    const names = ['A', 'B', 'C'].slice(0, chance(g, 10) ? between(g, 2, 3) : 1)
    const operations = names.map((name) => this.#operation(names.length > 1 || chance(g, 50) ? name : ''))
    const odd = this.#slips(8)
      ? [
          oneOf(g, [
            'scalar A',
            'type Query { a: Int }',
            '{',
            '}',
            '\0',
            '# gt',
            'extend type Query { a: Int }',
          ]),
        ]
      : []
    const query = [...operations, ...this.#fragments, ...odd].join('\n')
    const isNamed = names.length > 1
    const operationName = this.#slips(10)
      ? oneOf(g, ['A', '', 'Unknown', '__proto__'])
      : isNamed
        ? oneOf(g, names)
        : undefined
    const hasVariables = Object.keys(this.#variables).length > 0 || chance(g, 5)
    return { query, variables: hasVariables ? this.#variables : undefined, operationName }
  }

  #operation(name: string): string {
    const g = this.#g
    const kind = this.#slips(5) ? 'subscription' : chance(g, 50) ? 'mutation' : 'query'
    const type = this.#schema.getRootType(kind as never) ?? this.#schema.getQueryType()
    this.#definitions.length = 0
    const selection = type ? this.#selection(type, 0) : '{ a }'
    const variables = this.#definitions.length > 0 ? `(${this.#definitions.join(', ')})` : ''
    return kind === 'query' && !name && !variables
      ? selection
      : `${kind} ${name}${variables}${this.#directives()} ${selection}`
  }

  #selection(type: GraphQLObjectType, depth: number): string {
    const g = this.#g
    if (this.#slips(1)) return '{ }'
    const most = depth === 0 ? 2 : 4
    return `{ ${several(g, 1, most, () => this.#item(type, depth)).join(' ')} }`
  }

  #item(type: GraphQLObjectType, depth: number): string {
    const g = this.#g
    if (chance(g, 90)) return this.#field(type, depth)
    switch (between(g, 0, this.#isStrict ? 2 : 5)) {
      case 0:
        return '__typename'
      case 1:
        return `... ${chance(g, 70) ? `on ${this.#slips(10) ? 'Token' : type.name}` : ''}${this.#directives()} ${this.#selection(type, depth + 1)}`
      case 2: {
        const name = `F${this.#fragments.length}`
        const at = this.#fragments.push('') - 1
        this.#fragments[at] = `fragment ${name} on ${type.name} ${this.#selection(type, depth + 1)}`
        return `...${name}${this.#directives()}`
      }
      case 3:
        return oneOf(g, [
          'unknown',
          '__proto__',
          '...F0',
          '...Unknown',
          'constructor',
          'a: b: c',
          '__schema { types { name fields { name } } }',
        ])
      case 4:
        return '__schema { queryType { name } directives { name args { name defaultValue } } }'
      default:
        return '__type(name: "Token") { name fields(includeDeprecated: true) { name type { name ofType { name } } } }'
    }
  }

  #field(type: GraphQLObjectType, depth: number): string {
    const g = this.#g
    this.#fieldsLeft -= 1
    const all: readonly Field[] = Object.values(type.getFields())
    const leaves = all.filter((field) => !isObjectType(getNamedType(field.type)))
    const isLate = depth >= DEEPEST || this.#fieldsLeft < 0
    const field = isLate ? leaves[0] : oneOf(g, all)
    if (!field) return '__typename'
    const alias = chance(g, 10) ? `${oneOf(g, ['a', 'b', '__proto__', 'x'.repeat(120), '__typename'])}: ` : ''
    const args = this.#args(field.args)
    const object = getNamedType(field.type)
    const needsSelection = isObjectType(object)
    const selection = needsSelection && !this.#slips(2) ? ` ${this.#selection(object, depth + 1)}` : ''
    return `${alias}${field.name}${args}${this.#directives()}${selection}`
  }

  #args(args: readonly GraphQLArgument[]): string {
    const g = this.#g
    const texts = args
      .filter((argument) => (isRequiredArgument(argument) ? !this.#slips(5) : chance(g, 35)))
      .map((argument) => `${argument.name}: ${this.#value(argument.type)}`)
    if (this.#slips(2)) texts.push(oneOf(g, ['unknown: 1', 'first: 1', '__proto__: {}']))
    return texts.length > 0 ? `(${texts.join(', ')})` : ''
  }

  /** In the document itself, or as a variable. */
  #value(type: GraphQLInputType): string {
    const g = this.#g
    const value = valueFor(g, type, this.#isStrict)
    if (!chance(g, 40)) return toLiteral(value)
    const name = `v${Object.keys(this.#variables).length}`
    const declared = this.#slips(15)
      ? oneOf(g, ['String', 'Int!', '[ID!]!', 'Unknown', 'Token', 'BigInt', 'TokenType'])
      : String(type)
    const fallback = chance(g, 15) ? ` = ${toLiteral(valueFor(g, type, this.#isStrict))}` : ''
    this.#definitions.push(`$${name}: ${declared}${fallback}`)
    this.#give(name, value)
    return `$${name}`
  }

  #give(name: string, value: Value): void {
    this.#variables[name] = this.#slips(8) ? undefined : toJson(value)
  }

  /** Whether to do something here that the schema does not allow. */
  #slips(percent: number): boolean {
    return !this.#isStrict && chance(this.#g, percent)
  }

  #directives(): string {
    const g = this.#g
    if (!chance(g, 6)) return ''
    if (this.#isStrict) return ` ${oneOf(g, ['@include(if: true)', '@skip(if: true)', '@skip(if: false)'])}`
    return ` ${oneOf(g, ['@skip(if: true)', '@include(if: false)', '@include(if: "yes")', '@include', '@unknown', '@defer', '@stream(initialCount: 0)', '@deprecated', '@skip(if: $missing)', '@skip(if: false) @skip(if: false)'])}`
  }
}
