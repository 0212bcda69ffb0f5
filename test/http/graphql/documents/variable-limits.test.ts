import { describe, expect, it } from 'vitest'
import { areVariablesTooLarge, MAX_MEMBERS } from '../../../../src/http/graphql/documents/variable-limits.ts'

const members = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`m${index}`, index]))

describe('variables', () => {
  it.each([
    ['of an input object', (value: unknown) => ({ input: value })],
    ['of the variables themselves', (value: unknown) => value],
    ['of an object in a list of lists', (value: unknown) => ({ input: [[null, value]] })],
  ])('have at most the allowed number of members %s', (_where, wrap) => {
    expect(areVariablesTooLarge(wrap(members(MAX_MEMBERS)))).toBe(false)
    expect(areVariablesTooLarge(wrap(members(MAX_MEMBERS + 1)))).toBe(true)
  })

  it('may be missing, and may be nested to any depth', () => {
    for (const none of [undefined, null, {}]) expect(areVariablesTooLarge(none)).toBe(false)
    const deep = JSON.parse(`${'{"a":['.repeat(20_000)}1${']}'.repeat(20_000)}`)
    expect(areVariablesTooLarge(deep)).toBe(false)
  })
})
