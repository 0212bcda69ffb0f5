import { describe, expect, it } from 'vitest'
import { Fernet } from '../../src/lib/fernet.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import {
  bearerOf,
  dataOf,
  documentOf,
  historyOf,
  keyOf,
  makeRoot,
  makeTree,
  refusalOf,
  storedOf,
  writeEntry,
} from '../support/tokens/trees.ts'

describe('a difference from Gafaelfawr:', () => {
  const t = usePorthor('redis')
  const VIEWER = '{ viewer { token { key } } }'

  it.each([
    ['null', null],
    ['a number', 7],
    ['a list with a null', [null]],
    ['a list with a number', [7]],
    ['an object', { read: 'all' }],
  ])('%s for scopes is an error of the request, not of the server', async (_what, scopes) => {
    const CREATE = `mutation ($scopes: [String!]!) {
      createUserToken(input: {username: "wren", tokenName: "laptop", scopes: $scopes}) { token } }`
    expect(await refusalOf(t.h, CREATE, { variables: { scopes } })).toEqual(['BAD_USER_INPUT', 400])
    expect(await t.h.sql(`SELECT FROM token WHERE token_name = 'laptop'`)).toEqual([])
  })

  it('the `revoke` event of an OIDC token names its parent', async () => {
    const { root, notebook } = await makeTree(t.h)
    await t.h.sql(`UPDATE token SET token_type = 'oidc' WHERE token = $1`, [keyOf(notebook)])
    await dataOf(t.h, `mutation { revokeToken(key: "${keyOf(notebook)}") { keys } }`)
    expect(await historyOf(t.h, [notebook], 'revoke')).toMatchObject([
      { token_type: 'oidc', parent: keyOf(root) },
    ])
  })

  it('a session that revokes itself, as in a logout, revokes all tokens that were delegated from it', async () => {
    const session = await t.h.session()
    const delegate = 'mutation { notebookToken { token } }'
    const { notebookToken } = await dataOf<{ notebookToken: { token: string } }>(t.h, delegate, {
      token: session,
    })
    const { viewer } = await dataOf<{ viewer: { token: { key: string } } }>(t.h, VIEWER, { token: session })
    await dataOf(t.h, `mutation { revokeToken(key: "${viewer.token.key}") { keys } }`, { token: session })

    for (const token of [session, notebookToken.token]) {
      expect(await refusalOf(t.h, VIEWER, { token })).toEqual(['UNAUTHENTICATED', 401])
    }
  })

  it.each([
    ['createSessionToken', 'CreateSessionTokenInput', { username: 'wren\n' }],
    ['createServiceToken', 'CreateServiceTokenInput', { username: 'bot-ci\n' }],
    ['createUserToken', 'CreateUserTokenInput', { username: 'wren\n', tokenName: 'laptop' }],
  ])('a username that ends in a line feed is not valid, for %s', async (mutation, type, input) => {
    const query = `mutation ($input: ${type}!) { ${mutation}(input: $input) { token } }`
    expect(await refusalOf(t.h, query, { variables: { input } })).toEqual(['INVALID_USERNAME', 200])
  })

  it('a damaged record that contains a bearer string is reported without it, in the log and by the audit', async () => {
    const root = await makeRoot(t.h)
    const bearer = bearerOf(root)
    const document = JSON.parse((await documentOf(t.h, 'redis', root)) ?? '')
    const fernet = new Fernet([t.h.env.SESSION_SECRET ?? ''])
    const damaged = fernet.encrypt(JSON.stringify({ ...document, token: bearer }), { now: t.h.clock.now() })
    await writeEntry(t.h, 'redis', root, damaged)
    t.expectErrors()
    expect(await refusalOf(t.h, VIEWER, { token: bearer })).toEqual(['UNAUTHENTICATED', 401])

    const reported: unknown[] = []
    for await (const finding of t.h.context.services.audit.run({ fix: false })) reported.push(finding)
    expect(reported).toContainEqual(
      expect.objectContaining({ kind: 'malformed', key: keyOf(root), detail: 'token: invalid_type' }),
    )
    expect(t.h.logLines).toContainEqual(
      expect.objectContaining({ tokenKey: keyOf(root), reason: 'token: invalid_type' }),
    )
    expect(JSON.stringify([reported, t.h.logLines])).not.toContain(root.token.secret)
    for await (const finding of t.h.context.services.audit.run({ fix: true, deleteUnreadable: true })) {
      reported.push(finding)
    }
    expect(await storedOf(t.h, 'redis', [root])).toEqual([])
  })
})
