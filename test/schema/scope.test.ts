import { describe, expect, it } from 'vitest'
import { usePorthor } from '../support/porthor/use-porthor.ts'

const SCOPES = '{ scopes { name description } }'

describe('the query scopes', () => {
  const api = usePorthor('postgres', {
    KNOWN_SCOPES: JSON.stringify({
      'user:token': 'One’s own',
      'write:b': '',
      'admin:token': 'All',
      'read:Z': 'Upper before lower',
      'read:a': 'Lower',
    }),
  })

  it('returns the scopes of KNOWN_SCOPES, ordered by name', async () => {
    const { data } = await api.h.ask(SCOPES, { token: await api.h.session('wren', []) })
    expect(data).toEqual({
      scopes: [
        { name: 'admin:token', description: 'All' },
        { name: 'read:Z', description: 'Upper before lower' },
        { name: 'read:a', description: 'Lower' },
        { name: 'user:token', description: 'One’s own' },
        { name: 'write:b', description: '' },
      ],
    })
  })

  it('returns all scopes with which a token can be created', async () => {
    const create = (scopes: string[]) =>
      api.h.ask(
        'mutation ($input: CreateSessionTokenInput!) { createSessionToken(input: $input) { token } }',
        {
          token: api.h.bootstrapToken,
          variables: { input: { username: 'wren', scopes } },
        },
      )
    expect((await create(['write:b'])).errors).toEqual([])
    expect((await create(['read:all'])).code).toBe('INVALID_SCOPES')
  })
})
