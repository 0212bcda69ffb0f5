import {
  type GraphQLEnumType,
  type GraphQLInputObjectType,
  type GraphQLInputType,
  type GraphQLNamedInputType,
  type GraphQLScalarType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
} from 'graphql'
import { type Choices, chance, oneOf, several } from './choice.ts'

/** Stand in a generated request for what is known only when it is sent. */
export const PLACEHOLDERS = [
  '%%USER_TOKEN%%',
  '%%ADMIN_TOKEN%%',
  '%%BOOTSTRAP_TOKEN%%',
  '%%USER_KEY%%',
  '%%ADMIN_KEY%%',
] as const

/** A value that JSON and GraphQL write in different ways, or that only one of them can. */
export class Special {
  readonly literal: string
  readonly json: unknown

  constructor(literal: string, json: unknown) {
    this.literal = literal
    this.json = json
  }
}

/** A value of an argument or a variable, right, nearly right or odd. */
export type Value =
  | null
  | boolean
  | number
  | string
  | Special
  | readonly Value[]
  | { readonly [name: string]: Value }

const LONG = 'w'.repeat(64 * 1024)
const DEAD_BEARER = `gt-${'A'.repeat(22)}.${'B'.repeat(22)}`

const ODD_STRINGS = [
  '',
  ' ',
  '\0',
  'wr\0en',
  '\u001b[31m\r\n\t\b',
  '\u202e\u200b\ufeff',
  '🦉'.repeat(64),
  LONG,
  DEAD_BEARER,
  `x${DEAD_BEARER}.${DEAD_BEARER}`,
  '%%USER_TOKEN%%',
  '%%ADMIN_TOKEN%%',
  '%%BOOTSTRAP_TOKEN%%',
  "' OR 1=1; DROP TABLE token; --",
  '../../etc/passwd',
  '%00%s%n{{x}}',
  '__proto__',
  'constructor',
  'toString',
  '<bootstrap>',
  '<internal>',
  'null',
] as const

const STRINGS = [
  'wren',
  'bot-ci',
  'tap',
  'image-cutouts',
  'laptop',
  'read:all',
  'user:token',
  'admin:token',
  'read:nothing',
  'Wren Okafor',
  'wren@example.org',
  '192.0.2.1',
  '192.0.2.0/24',
  '192.0.2.1/24',
  '::ffff:192.0.2.1',
  '2001:db8::/32',
  '::1%eth0',
  'eyJpZCI6MX0=',
  'MTc2NzIyNTYwMF8x',
] as const

const IDS = ['%%USER_KEY%%', '%%ADMIN_KEY%%', 'A'.repeat(22), 7, -1] as const

const INTEGERS = [
  1,
  0,
  -1,
  2,
  50,
  299,
  300,
  500,
  501,
  3_600,
  86_400,
  10_000,
  10_001,
  2 ** 31 - 1,
  -(2 ** 31),
] as const

const NO_INT = [
  2 ** 31,
  -(2 ** 31) - 1,
  2 ** 53,
  1e300,
  1.5,
  new Special('-0', -0),
  new Special(`1${'0'.repeat(400)}`, 1e308),
  new Special('1e5', 1e5),
  '7',
] as const

/** Values of a scalar: those that all is well with, those that it takes, and those that it does not. */
interface Scalar {
  readonly right: readonly Value[]
  readonly odd: readonly Value[]
  readonly wrong: readonly Value[]
}

const big = (digits: string): Special => new Special(digits, digits)

const TEXTS: Scalar = { right: STRINGS, odd: ODD_STRINGS, wrong: [7, true, '\ud800', 'a\udc00b'] }

const SCALARS: Readonly<Record<string, Scalar>> = {
  Int: { right: INTEGERS.slice(0, 12), odd: INTEGERS, wrong: NO_INT },
  BigInt: {
    right: [...INTEGERS, 2 ** 31, 2 ** 53 - 1],
    odd: ['9007199254740993', '9223372036854775807', '-9223372036854775808'].map(big),
    wrong: [...NO_INT, big('9223372036854775808'), big('9'.repeat(50_000))],
  },
  Boolean: { right: [true, false], odd: [true, false], wrong: ['true', 1] },
  DateTime: {
    right: ['2026-12-31T00:00:00Z', '2099-01-01T00:00:00Z', '1970-01-01T00:00:00.000Z'],
    odd: [
      '0000-01-01T00:00:00Z',
      '0001-01-01T00:00:00+23:59',
      '9999-12-31T23:59:59-23:59',
      '2600-01-01T00:00:00Z',
      '2026-01-01T00:00:00.1234567890123Z',
    ],
    wrong: [
      '+010000-01-01T00:00:00Z',
      '10000-01-01T00:00:00Z',
      '275760-09-13T00:00:00Z',
      '+275760-09-13T00:00:00.001Z',
      '-000001-01-01T00:00:00Z',
      '2026-02-30T00:00:00Z',
      '2026-06-30T23:59:60Z',
      '2026-01-01',
      '2026-01-01T24:00:00Z',
      'soon',
      '2026-12-31T00:00:00Z\0',
      1_767_225_600,
      1e300,
    ],
  },
  ID: { right: IDS.slice(0, 3), odd: [...IDS, ...ODD_STRINGS], wrong: TEXTS.wrong },
}

const MISFITS: readonly Value[] = [
  null,
  true,
  0,
  1.5,
  '',
  [],
  {},
  [[]],
  [null],
  { a: 1 },
  new Special('UNKNOWN', 'UNKNOWN'),
  new Special('"""block\n  string"""', 'block\nstring'),
]

/** A value for an input of `type`: one that the type allows where `isStrict`, else mostly. */
export function valueFor(g: Choices, type: GraphQLInputType, isStrict: boolean): Value {
  if (isNonNullType(type)) return !isStrict && chance(g, 3) ? null : valueFor(g, type.ofType, isStrict)
  if (!isStrict && chance(g, 4)) return oneOf(g, MISFITS)
  if (isListType(type)) {
    if (chance(g, 1)) return Array.from({ length: 3_000 }, () => 'read:all')
    if (chance(g, 5)) return valueFor(g, type.ofType, isStrict)
    return several(g, 0, 3, () => valueFor(g, type.ofType, isStrict))
  }
  if (isInputObjectType(type)) return objectOf(g, type, isStrict)
  return isEnumType(type) ? enumOf(g, type, isStrict) : scalarOf(g, type, isStrict)
}

function objectOf(g: Choices, type: GraphQLInputObjectType, isStrict: boolean): Value {
  const entries = Object.values(type.getFields())
    .filter((field) => chance(g, isNonNullType(field.type) ? 95 : 35))
    .map((field) => [field.name, valueFor(g, field.type, isStrict)] as const)
  const odd =
    !isStrict && chance(g, 3)
      ? [[oneOf(g, ['unknown', '__proto__', 'constructor', '__typename']), oneOf(g, MISFITS)] as const]
      : []
  return Object.fromEntries([...entries, ...odd])
}

function enumOf(g: Choices, type: GraphQLEnumType, isStrict: boolean): Value {
  const names = type.getValues().map(({ name }) => new Special(name, name))
  return oneOf(
    g,
    isStrict || chance(g, 85)
      ? names
      : [new Special('UNKNOWN', 'UNKNOWN'), new Special('session', 'session'), 'SESSION', 0, ''],
  )
}

function scalarOf(g: Choices, type: GraphQLScalarType | GraphQLNamedInputType, isStrict: boolean): Value {
  const { right, odd, wrong } = SCALARS[type.name] ?? TEXTS
  const choices: readonly Value[] = chance(g, 30) ? odd : right
  return oneOf(g, !isStrict && chance(g, 15) ? wrong : choices)
}

/** As it stands in a document. */
export function toLiteral(value: Value): string {
  if (value instanceof Special) return value.literal
  if (isList(value)) return `[${value.map(toLiteral).join(', ')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  return `{${Object.entries(value)
    .map(([name, each]) => `${name}: ${toLiteral(each)}`)
    .join(', ')}}`
}

/** As it stands among the variables. */
export function toJson(value: Value): unknown {
  if (value instanceof Special) return value.json
  if (isList(value)) return value.map(toJson)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, toJson(each)]))
}

const isList = (value: Value): value is readonly Value[] => Array.isArray(value)
