import { describe, expect, it } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { fieldOf, useApi } from '../support/api.ts'

const VIEWER = `{ viewer {
  token { key username type tokenName service scopes createdAt expiresAt }
  user { username name email uid gid groups { name id } }
} }`

const NOBODY_IN_PARTICULAR = { name: null, email: null, uid: null, gid: null, groups: [] }

describe.each(['redis', 'postgres'] as const)('viewer over %s', (store) => {
  const api = useApi(store)
  const inSeconds = (seconds: number) => new Date(api.h.clock.now().getTime() + seconds * 1000).toISOString()

  it('is the acting token and its user', async () => {
    const token = await api.h.session('wren', ['user:token', 'read:all'])
    const { data, status } = await api.h.ask(VIEWER, { token })
    expect(status).toBe(200)
    expect(data).toEqual({
      viewer: {
        token: {
          key: parseToken(token).key,
          username: 'wren',
          type: 'SESSION',
          tokenName: null,
          service: null,
          scopes: ['read:all', 'user:token'],
          createdAt: inSeconds(0),
          expiresAt: inSeconds(30 * 86_400),
        },
        user: { username: 'wren', ...NOBODY_IN_PARTICULAR },
      },
    })
  })

  it('is the delegated token, with the user information of its parent, where a service asks', async () => {
    const userInfo = {
      name: 'Wren',
      email: 'w@example.org',
      uid: 1,
      gid: 2,
      groups: [{ name: 'g1', id: -3 }],
    }
    const session = await api.h.ask(
      'mutation ($input: CreateSessionTokenInput!) { createSessionToken(input: $input) { token } }',
      {
        token: api.h.bootstrapToken,
        variables: { input: { username: 'wren', scopes: ['read:all'], userInfo } },
      },
    )
    const { token: parent } = fieldOf<{ token: string }>(session, 'createSessionToken')
    const delegated = await api.h.ask(
      'mutation { internalToken(service: "tap", scopes: ["read:all"]) { token key } }',
      { token: parent },
    )
    const { token, key } = fieldOf<{ token: string; key: string }>(delegated, 'internalToken')
    expect((await api.h.ask(VIEWER, { token })).data).toMatchObject({
      viewer: {
        token: { key, type: 'INTERNAL', service: 'tap', scopes: ['read:all'] },
        user: { username: 'wren', ...userInfo },
      },
    })
  })

  it('is told without the numbers of its user that are too large for GraphQL, as nobody has', async () => {
    const [largest, nobody] = [2 ** 31 - 1, 2 ** 32 - 2]
    const groups = [
      { name: 'nogroup', id: nobody },
      { name: 'staff', id: largest },
    ]
    const token = await api.plant({
      userInfo: { name: null, email: null, uid: largest, gid: nobody, groups },
    })
    const { data, errors } = await api.h.ask(VIEWER, { token })
    expect(errors).toEqual([])
    expect(data).toMatchObject({ viewer: { user: { uid: largest, gid: null, groups: [{ name: 'staff' }] } } })
  })

  it('needs no scope', async () => {
    const { data } = await api.h.ask(VIEWER, { token: await api.h.session('wren', []) })
    expect(data).toMatchObject({ viewer: { token: { scopes: [] } } })
  })

  it('is refused where only the token store knows the token', async () => {
    api.expectErrors()
    const token = await api.plant({ isInDatabase: false })
    expect(await api.h.ask(VIEWER, { token })).toMatchObject({
      code: 'UNAUTHENTICATED',
      status: 401,
      data: null,
    })
    const { key } = parseToken(token)
    expect(api.h.logLines).toContainEqual(
      expect.objectContaining({ level: 50, tokenKey: key, msg: expect.stringContaining('desynchronised') }),
    )
  })
})
