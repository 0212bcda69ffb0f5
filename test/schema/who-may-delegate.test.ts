import { describe, expect, it } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import type { Porthor } from '../support/porthor/porthor.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { fieldOf } from '../support/requests/graphql.ts'

interface Made {
  readonly token: string
  readonly scopes: readonly string[]
}

const INTERNAL = `mutation ($scopes: [String!]!) {
  made: internalToken(service: "tap", scopes: $scopes) { token scopes }
}`
const NOTEBOOK = 'mutation { made: notebookToken { token scopes } }'
const REVOKE = 'mutation ($key: ID!) { revokeToken(key: $key) { keys } }'

/** Every operation that creates or modifies a token. */
const CHANGES = {
  createUserToken: 'mutation { createUserToken(input: { tokenName: "n" }) { token } }',
  createSessionToken: 'mutation { createSessionToken(input: { username: "wren" }) { token } }',
  createServiceToken: 'mutation { createServiceToken(input: { username: "bot-a" }) { token } }',
  modifyToken: 'mutation { modifyToken(key: "q1w2e3r4t5y6u7i8o9p0aQ", input: { noExpire: true }) { key } }',
}

const internal = async (h: Porthor, token: string, scopes: readonly string[]) =>
  fieldOf<Made>(await h.ask(INTERNAL, { token, variables: { scopes } }), 'made')
const notebook = async (h: Porthor, token: string) => fieldOf<Made>(await h.ask(NOTEBOOK, { token }), 'made')

describe('rule 11: a delegated token creates and modifies no tokens', () => {
  const api = usePorthor('redis', { UNDELEGABLE_SCOPES: 'none' })

  it.each(Object.entries(CHANGES))(
    '%s is PERMISSION_DENIED for a delegated token, whatever its scopes',
    async (_, query) => {
      const session = await api.h.session('wren', ['admin:token', 'user:token'])
      const delegated = [
        await internal(api.h, session, ['admin:token', 'user:token']),
        await notebook(api.h, session),
      ]
      for (const { token } of delegated) {
        expect(await api.h.ask(query, { token })).toMatchObject({ status: 403, code: 'PERMISSION_DENIED' })
      }
      expect((await api.h.ask(query, { token: session })).code).not.toBe('PERMISSION_DENIED')
    },
  )
})

describe('rule 11, with DELEGATED_TOKENS_MAY_CREATE', () => {
  const api = usePorthor('redis', { UNDELEGABLE_SCOPES: 'none', DELEGATED_TOKENS_MAY_CREATE: 'true' })

  it.each(Object.entries(CHANGES).filter(([name]) => name !== 'modifyToken'))(
    'a token that %s creates for a delegated token expires no later than that token, and is revoked with it',
    async (name, query) => {
      const session = await api.h.session('wren', ['admin:token', 'user:token'])
      const { token: delegated } = await internal(api.h, session, ['admin:token', 'user:token'])
      api.h.clock.advance(60)
      const { token } = fieldOf<Made>(await api.h.ask(query, { token: delegated }), name)

      const [parent, child] = [await api.h.stored(delegated), await api.h.stored(token)]
      expect(child.expiresAt).toEqual(parent.expiresAt)
      await api.h.ask(REVOKE, { token: session, variables: { key: parseToken(session).key } })
      expect((await api.h.ask('{ scopes { name } }', { token })).code).toBe('UNAUTHENTICATED')
    },
  )
})

describe('rule 11: no escape by way of what a delegated token has created', () => {
  const api = usePorthor('redis', { UNDELEGABLE_SCOPES: 'none', DELEGATED_TOKENS_MAY_CREATE: 'true' })
  const create = (tokenName: string) =>
    `mutation { made: createUserToken(input: { tokenName: "${tokenName}", scopes: ["user:token"] }) { token } }`

  it('a token at any number of steps below a session is revoked with the session', async () => {
    const session = await api.h.session('wren', ['user:token'])
    let { token } = await internal(api.h, session, ['user:token'])
    const derived: string[] = []
    for (const name of ['first', 'second', 'third']) {
      token = fieldOf<Made>(await api.h.ask(create(name), { token }), 'made').token
      derived.push(token)
    }
    await api.h.ask(REVOKE, { token: session, variables: { key: parseToken(session).key } })
    for (const each of derived) {
      expect((await api.h.ask('{ scopes { name } }', { token: each })).code).toBe('UNAUTHENTICATED')
    }
  })
})

describe('rule 12: some scopes are never delegated', () => {
  const api = usePorthor('redis', { UNDELEGABLE_SCOPES: 'admin:token,read:tap' })

  it.each(['admin:token', 'read:tap', 'delegate:token', 'introspect:token'])(
    'an internal token with %s is refused as INVALID_SCOPES, and a notebook token omits it',
    async (scope) => {
      const session = await api.h.session('wren', [scope, 'read:all'])
      const refused = await api.h.ask(INTERNAL, {
        token: session,
        variables: { scopes: [scope, 'read:all'] },
      })
      expect(refused).toMatchObject({ status: 200, code: 'INVALID_SCOPES' })
      expect(refused.errors[0]?.message).toContain(scope)
      expect(await notebook(api.h, session)).toMatchObject({ scopes: ['read:all'] })
    },
  )

  it('a notebook token without them is reused, from the cache and from the database', async () => {
    const token = await api.h.session('wren', ['admin:token', 'read:all'])
    const query = 'mutation { notebookToken { key source } }'
    const sources: unknown[] = []
    for (const clear of [false, false, true]) {
      if (clear) api.h.context.services.tokenCache.clear()
      sources.push(fieldOf<{ source: string }>(await api.h.ask(query, { token }), 'notebookToken').source)
    }
    expect(sources).toEqual(['NEW', 'CACHE', 'DATABASE'])
  })
})

describe('rule 17: the holder of a token may always revoke it', () => {
  const api = usePorthor('redis')

  it('with or without user:token, and may do nothing else afterwards', async () => {
    const session = await api.h.session('wren', ['read:all'])
    const { token } = await internal(api.h, session, [])
    const revoke = (key: string) => api.h.ask(REVOKE, { token, variables: { key } })

    expect(await revoke(parseToken(session).key)).toMatchObject({ code: 'PERMISSION_DENIED' })
    const { key } = parseToken(token)
    expect(await revoke(key)).toMatchObject({ status: 200, data: { revokeToken: { keys: [key] } } })
    expect(await revoke(key)).toMatchObject({ status: 401 })
    expect(await api.h.ask('{ scopes { name } }', { token: session })).toMatchObject({ status: 200 })
  })
})
