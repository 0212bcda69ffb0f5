import { describe, expect, it } from 'vitest'
import { Fernet } from '../../src/lib/fernet.ts'
import { useApi } from '../support/api.ts'
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
} from '../support/trees.ts'

// Weaknesses of Gafaelfawr's administration and upkeep, as token-semantics numbers them, that are nobody else's
// test. W12, W13, W17, W18, W40, W41, W44 to W46, W48 to W52, W61, W62 and W64 are in the tests of what they are about.

describe('a weakness of Gafaelfawr that is none here:', () => {
  const t = useApi('redis')
  const VIEWER = '{ viewer { token { key } } }'

  it.each([
    ['null', null],
    ['a number', 7],
    ['a list with a null', [null]],
    ['a list with a number', [7]],
    ['an object', { read: 'all' }],
  ])('W42: %s for scopes is a fault of the query, not of the server', async (_what, scopes) => {
    const CREATE = `mutation ($scopes: [String!]!) {
      createUserToken(input: {username: "wren", tokenName: "w42", scopes: $scopes}) { token } }`
    expect(await refusalOf(t.h, CREATE, { variables: { scopes } })).toEqual(['BAD_USER_INPUT', 400])
    expect(await t.h.sql(`SELECT FROM token WHERE token_name = 'w42'`)).toEqual([])
  })

  it('W43: what history says of an OIDC token that is revoked names its parent', async () => {
    const { root, notebook } = await makeTree(t.h)
    await t.h.sql(`UPDATE token SET token_type = 'oidc' WHERE token = $1`, [keyOf(notebook)])
    await dataOf(t.h, `mutation { revokeToken(key: "${keyOf(notebook)}") { keys } }`)
    expect(await historyOf(t.h, [notebook], 'revoke')).toMatchObject([
      { token_type: 'oidc', parent: keyOf(root) },
    ])
  })

  it('W47: logging out, which is to revoke the session with itself, ends it and all that it lent', async () => {
    const session = await t.h.session()
    const lent = 'mutation { notebookToken { token } }'
    const { notebookToken } = await dataOf<{ notebookToken: { token: string } }>(t.h, lent, {
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
  ])('W53: a username that ends in a line feed is none, for %s', async (mutation, type, input) => {
    const query = `mutation ($input: ${type}!) { ${mutation}(input: $input) { token } }`
    expect(await refusalOf(t.h, query, { variables: { input } })).toEqual(['INVALID_USERNAME', 200])
  })

  it('W67: a damaged record that holds a whole token is told of without it, in the log and by the audit', async () => {
    const root = await makeRoot(t.h)
    const bearer = bearerOf(root)
    const document = JSON.parse((await documentOf(t.h, 'redis', root)) ?? '')
    const fernet = new Fernet([t.h.env.SESSION_SECRET ?? ''])
    const damaged = fernet.encrypt(JSON.stringify({ ...document, token: bearer }), { now: t.h.clock.now() })
    await writeEntry(t.h, 'redis', root, damaged)
    t.expectErrors()
    expect(await refusalOf(t.h, VIEWER, { token: bearer })).toEqual(['UNAUTHENTICATED', 401])

    const told: unknown[] = []
    for await (const finding of t.h.context.services.audit.run({ fix: false })) told.push(finding)
    expect(told).toContainEqual(
      expect.objectContaining({ kind: 'malformed', key: keyOf(root), detail: 'token: invalid_type' }),
    )
    expect(t.h.logLines).toContainEqual(
      expect.objectContaining({ tokenKey: keyOf(root), fault: 'token: invalid_type' }),
    )
    expect(JSON.stringify([told, t.h.logLines])).not.toContain(root.token.secret)
    for await (const finding of t.h.context.services.audit.run({ fix: true, deleteUnreadable: true })) {
      told.push(finding)
    }
    expect(await storedOf(t.h, 'redis', [root])).toEqual([])
  })
})
