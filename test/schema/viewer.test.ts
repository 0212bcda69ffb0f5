import { describe, expect, it } from 'vitest'
import { NO_USER_INFO, parseToken } from '../../src/domain/token.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { fieldOf } from '../support/requests/graphql.ts'

const VIEWER = `{ viewer {
  token { key username type tokenName service scopes createdAt expiresAt }
  user {
    username name email uid gid groups { name id }
    groupsRecorded uidNumber gidNumber allGroups { name gidNumber }
  }
} }`

const NOBODY_IN_PARTICULAR = {
  name: null,
  email: null,
  uid: null,
  gid: null,
  groups: [],
  groupsRecorded: false,
  uidNumber: null,
  gidNumber: null,
  allGroups: null,
}

describe.each(['redis', 'postgres'] as const)('viewer over %s', (store) => {
  const api = usePorthor(store)
  const inSeconds = (seconds: number) => new Date(api.h.clock.now().getTime() + seconds * 1000).toISOString()

  it('is the current token and its user', async () => {
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

  it('is the delegated token, with the user information of its parent, where a service sends the request', async () => {
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
        user: {
          username: 'wren',
          ...userInfo,
          groupsRecorded: true,
          uidNumber: 1,
          gidNumber: 2,
          allGroups: [{ name: 'g1', gidNumber: -3 }],
        },
      },
    })
  })

  it("has the user's numbers of any size, those within 32 bits also in the fields of type Int", async () => {
    const [largest, nobody, huge] = [2 ** 31 - 1, 2 ** 32 - 2, 2n ** 53n + 1n]
    const groups = [
      { name: 'nogroup', id: nobody },
      { name: 'staff', id: largest },
      { name: 'g_huge', id: huge },
    ]
    const token = await api.plant({ userInfo: { name: null, email: null, uid: largest, gid: huge, groups } })
    const { data, errors } = await api.h.ask(VIEWER, { token })
    expect(errors).toEqual([])
    expect(data).toMatchObject({
      viewer: {
        user: {
          uid: largest,
          gid: null,
          groups: [{ name: 'staff', id: largest }],
          groupsRecorded: true,
          uidNumber: largest,
          gidNumber: '9007199254740993',
          allGroups: [
            { name: 'nogroup', gidNumber: nobody },
            { name: 'staff', gidNumber: largest },
            { name: 'g_huge', gidNumber: '9007199254740993' },
          ],
        },
      },
    })
  })

  it.each([
    ['that were not recorded', null, { groups: [], groupsRecorded: false, allGroups: null }],
    ['of which there are none', [], { groups: [], groupsRecorded: true, allGroups: [] }],
  ])('shows groups %s as such, and its children record the same', async (_what, groups, shown) => {
    const userInfo = { ...NO_USER_INFO, groups }
    const token = await api.plant({ userInfo, scopes: ['read:all'] })
    for (const field of ['internalToken(service: "tap", scopes: ["read:all"])', 'notebookToken']) {
      const answer = await api.h.ask(`mutation { child: ${field} { token } }`, { token })
      const child = fieldOf<{ token: string }>(answer, 'child').token
      expect((await api.h.stored(child)).userInfo).toEqual(userInfo)
      for (const each of [token, child]) {
        expect((await api.h.ask(VIEWER, { token: each })).data).toMatchObject({ viewer: { user: shown } })
      }
    }
  })

  it('has the same numbers of users and groups in each token that is delegated from it', async () => {
    const [uid, gid, id] = [2 ** 40, 2n ** 63n - 1n, -(2n ** 63n)]
    const userInfo = { name: null, email: null, uid, gid, groups: [{ name: 'g_64', id }] }
    let token = await api.plant({ userInfo, scopes: ['read:all'] })
    for (const service of ['tap', 'image-cutouts']) {
      const field = `internalToken(service: "${service}", scopes: ["read:all"])`
      const answer = await api.h.ask(`mutation { child: ${field} { token } }`, { token })
      token = fieldOf<{ token: string }>(answer, 'child').token
      expect((await api.h.stored(token)).userInfo).toEqual(userInfo)
    }
  })

  it('requires no scope', async () => {
    const { data } = await api.h.ask(VIEWER, { token: await api.h.session('wren', []) })
    expect(data).toMatchObject({ viewer: { token: { scopes: [] } } })
  })

  it('is refused where the token is only in the token store', async () => {
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
