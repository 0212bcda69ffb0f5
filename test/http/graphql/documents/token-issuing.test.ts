import { describe, expect, it } from 'vitest'
import { tokenIssuingFields } from '../../../../src/http/graphql/documents/token-issuing.ts'
import { schema } from '../../../../src/schema/index.ts'
import { usePorthor } from '../../../support/porthor/use-porthor.ts'
import { send } from '../../../support/requests/http.ts'

const NOTEBOOK = 'notebookToken { key }'
const TAP = 'internalToken(service: "tap") { key }'

it('the fields that issue a token are those that return a bearer string', () => {
  expect([...tokenIssuingFields(schema)].sort()).toEqual([
    'createServiceToken',
    'createSessionToken',
    'createUserToken',
    'internalToken',
    'notebookToken',
  ])
})

describe.each(['', '?by=yoga'])('an operation, sent to /graphql%s', (search) => {
  const api = usePorthor('postgres')
  const ask = async (query: string, operationName?: string) => {
    const token = await api.h.session()
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` }
    const { body } = await send(`${api.h.url}${search}`, { method: 'POST', headers }, [
      JSON.stringify({ query, operationName, variables: { no: false } }),
    ])
    return JSON.parse(body) as { data?: object; errors?: { message: string; extensions: { code: string } }[] }
  }
  const created = () => api.h.logLines.filter(({ msg }) => msg === 'created token').length

  it.each([
    ['two fields', `mutation { ${NOTEBOOK} ${TAP} }`],
    ['one field twice, by aliases', `mutation { a: ${TAP} b: ${TAP} }`],
    [
      'one of its own and one of a fragment',
      `mutation { a: ${TAP} ...F } fragment F on Mutation { b: ${TAP} }`,
    ],
    ['two in fragments in place', `mutation { ... { a: ${TAP} } ... on Mutation { b: ${TAP} } }`],
    [
      'one that depends on a variable',
      `mutation ($no: Boolean!) { ${NOTEBOOK} internalToken(service: "tap") @include(if: $no) { key } }`,
    ],
    [
      'one of each that creates',
      'mutation { createUserToken(input: { tokenName: "a" }) { token } notebookToken { key } }',
    ],
  ])('that would issue more than one token issues none (rule 18): %s', async (_what, query) => {
    const before = created()
    const { data, errors } = await ask(query)
    expect(data).toBeUndefined()
    expect(errors).toMatchObject([
      { message: expect.stringContaining('only one token'), extensions: { code: 'BAD_USER_INPUT' } },
    ])
    // The session's own.
    expect(created()).toBe(before + 1)
  })

  it.each([
    ['one field written twice', `mutation { ${TAP} internalToken(service: "tap") { scopes } }`, undefined],
    [
      'one, and another that is left out',
      `mutation { ${NOTEBOOK} a: internalToken(service: "tap") @skip(if: true) { key } b: internalToken(service: "tap") @include(if: false) { key } }`,
      undefined,
    ],
    ['one, beside another operation', `mutation A { ${TAP} } mutation B { ${NOTEBOOK} }`, 'A'],
  ])('issues a token with %s', async (_what, query, operationName) => {
    expect(await ask(query, operationName)).toEqual({ data: expect.anything() })
  })
})
