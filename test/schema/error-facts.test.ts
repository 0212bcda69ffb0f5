import { expect, it } from 'vitest'
import { formatToken, generateToken } from '../../src/domain/token.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'

const INTERNAL = `mutation ($service: String!, $scopes: [String!]!) {
  internalToken(service: $service, scopes: $scopes) { token } }`
const LIST = '{ tokens(first: 0) { totalCount } }'

const api = usePorthor('redis')

it('extensions of an error have its code and its facts, so that no client parses the message', async () => {
  const session = await api.h.session('wren', ['user:token', 'read:all'])

  const held = await api.h.ask(INTERNAL, {
    token: session,
    variables: { service: 'tap', scopes: ['read:tap'] },
  })
  expect(held.errors[0]?.extensions).toEqual({
    code: 'INVALID_SCOPES',
    missingScopes: ['read:tap'],
    heldScopes: ['read:all', 'user:token'],
  })
  const page = await api.h.ask(LIST, { token: session })
  expect(page.errors[0]?.extensions).toEqual({ code: 'INVALID_PAGE_SIZE', minimum: 1, maximum: 500 })
})

it('a bearer string that is sent as a scope is not in the extensions of the error', async () => {
  const session = await api.h.session('wren', ['read:all'])
  const bearer = formatToken(generateToken())

  const refused = await api.h.ask(INTERNAL, {
    token: session,
    variables: { service: 'tap', scopes: [bearer] },
  })
  expect(refused.code).toBe('INVALID_SCOPES')
  expect(refused.errors[0]?.extensions.unknownScopes).toEqual(['gt-…'])
  expect(JSON.stringify(refused.errors)).not.toContain(bearer.slice(-22))
})
