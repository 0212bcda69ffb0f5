import { describe, expect, it } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { useHarness } from '../support/harness.ts'

describe.each(['redis', 'postgres'] as const)('token trees over %s', (store) => {
  const t = useHarness(store)

  it('are shown, edited and revoked as a whole', async () => {
    const admin = t.h.bootstrapToken
    const made = await t.h.ask(
      'mutation { createUserToken(input: {username: "wren", tokenName: "laptop", scopes: ["read:all", "user:token"]}) { token info { key } } }',
      { token: admin },
    )
    const token = (made.data as { createUserToken: { token: string } }).createUserToken.token
    const { key } = parseToken(token)
    const lend = 'mutation { internalToken(service: "tap", scopes: ["read:all"]) { token } }'
    const child = (await t.h.ask(lend, { token })).data as { internalToken: { token: string } }
    await t.h.ask(lend.replace('tap', 'deep'), { token: child.internalToken.token })

    const tree = `query ($key: ID!) { token(key: $key) { key tokenName
      changes { totalCount nodes { action actor oldScopes expiresChanged ipAddress } }
      children { totalCount pageInfo { hasNextPage startCursor } edges { cursor node { key service scopes parent { key }
        changes { nodes { action oldScopes scopes } } children { nodes { service parent { service } } } } } } } }`
    const shown = await t.h.ask(tree, { token: admin, variables: { key } })
    expect(shown.errors).toEqual([])
    expect(shown.data).toMatchObject({
      token: {
        children: {
          totalCount: 1,
          edges: [{ node: { service: 'tap', parent: { key }, children: { nodes: [{ service: 'deep' }] } } }],
        },
      },
    })

    const modified = await t.h.ask(
      'mutation ($key: ID!) { modifyToken(key: $key, input: {scopes: [], noExpire: true, tokenName: "desk"}) { scopes tokenName expiresAt children { nodes { scopes } } } }',
      { token: admin, variables: { key } },
    )
    expect(modified.errors).toEqual([])
    expect(modified.data).toMatchObject({
      modifyToken: { scopes: [], tokenName: 'desk', expiresAt: null, children: { nodes: [{ scopes: [] }] } },
    })
    expect((await t.h.stored(child.internalToken.token)).scopes).toEqual([])

    const listed = await t.h.ask(
      '{ tokens(first: 2) { totalCount nodes { service } pageInfo { endCursor hasNextPage } } tokenChanges(filter: {ipAddress: "127.0.0.1/32", actor: "wren"}) { totalCount nodes { action } } }',
      { token: admin },
    )
    expect(listed.errors).toEqual([])
    expect(listed.data).toMatchObject({
      tokens: { totalCount: 3, pageInfo: { hasNextPage: true } },
      tokenChanges: { totalCount: 2 },
    })

    const dry = await t.h.ask(
      'mutation { revokeTokens(filter: {username: "wren"}, dryRun: true) { count keys } }',
      { token: admin },
    )
    expect(dry.data).toMatchObject({ revokeTokens: { count: 3 } })
    const revoked = await t.h.ask('mutation ($key: ID!) { revokeToken(key: $key) { keys } }', {
      token: admin,
      variables: { key },
    })
    expect(revoked.errors).toEqual([])
    expect((revoked.data as { revokeToken: { keys: string[] } }).revokeToken.keys).toHaveLength(3)
    expect((revoked.data as { revokeToken: { keys: string[] } }).revokeToken.keys.at(-1)).toBe(key)
    expect(await t.h.ask(lend, { token })).toMatchObject({ code: 'UNAUTHENTICATED' })
    expect(await t.h.ask(lend, { token: child.internalToken.token })).toMatchObject({
      code: 'UNAUTHENTICATED',
    })
    expect(await t.h.sql('SELECT * FROM token')).toEqual([])
    expect(
      await t.h.sql(
        "SELECT parent, action FROM token_change_history WHERE action = 'revoke' ORDER BY id DESC",
      ),
    ).toMatchObject([{ parent: null }, { parent: key }, {}])
    expect(
      (
        await t.h.ask('mutation ($key: ID!) { revokeToken(key: $key) { keys } }', {
          token: admin,
          variables: { key },
        })
      ).code,
    ).toBe('NOT_FOUND')
    expect((await t.h.ask('mutation { revokeTokens(filter: {}) { count } }', { token: admin })).code).toBe(
      'INVALID_FILTER',
    )
  })
})
