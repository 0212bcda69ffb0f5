import { readFile } from 'node:fs/promises'
import {
  type GraphQLNamedType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isIntrospectionType,
  isObjectType,
  isSpecifiedScalarType,
} from 'graphql'
import { describe, expect, it } from 'vitest'
import { generate } from '../../codegen.ts'
import { schema } from '../../src/schema/index.ts'

const generated = await generate()

describe('what codegen makes', () => {
  it.each(Object.entries(generated))('is committed as it would be made today: %s', async (path, text) => {
    const committed = await readFile(new URL(`../../${path}`, import.meta.url), 'utf8')
    expect(committed, 'run npm run codegen, look at the difference, and commit it').toBe(text)
  })
})

describe('the schema', () => {
  const types = Object.values(schema.getTypeMap()).filter(
    (type) => !isIntrospectionType(type) && !isSpecifiedScalarType(type),
  )

  it.each(types.map((type) => [type.name, type] as const))('describes all of %s', (_name, type) => {
    expect(undescribed(type)).toEqual([])
  })
})

interface Described {
  readonly name: string
  readonly description?: string | null | undefined
}

/** The places of the schema, in `type`, that do not tell their reader what they are. */
function undescribed(type: GraphQLNamedType): string[] {
  return [{ place: type.name, node: type as Described }, ...members(type)]
    .filter(({ node }) => !node.description?.trim())
    .map(({ place }) => place)
}

function members(type: GraphQLNamedType): { place: string; node: Described }[] {
  if (isEnumType(type)) {
    return type.getValues().map((value) => ({ place: `${type.name}.${value.name}`, node: value }))
  }
  if (isInputObjectType(type)) {
    return Object.values(type.getFields()).map((field) => ({
      place: `${type.name}.${field.name}`,
      node: field,
    }))
  }
  if (!isObjectType(type) && !isInterfaceType(type)) return []
  return Object.values(type.getFields()).flatMap((field) => {
    const place = `${type.name}.${field.name}`
    const args = field.args.map((arg) => ({ place: `${place}(${arg.name})`, node: arg }))
    return [{ place, node: field }, ...args]
  })
}
