import { expect, it, onTestFinished, vi } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { openTcpProxy } from '../support/tcp-proxy.ts'
import { openTrackedPair } from '../support/tracked-pair.ts'

const USER = `mutation {
  made: createUserToken(input: { username: "wren", tokenName: "desk", scopes: ["read:all", "read:tap"] }) { token }
}`
const EDIT = 'mutation ($key: ID!) { modifyToken(key: $key, input: { scopes: ["read:tap"] }) { key } }'

it('a revoked token stays so, though an edit of it by another process was stuck on the wire meanwhile', {
  timeout: 60_000,
}, async () => {
  const p = await openTrackedPair(onTestFinished, openTcpProxy)
  const { made } = await p.asAdmin<{ made: { token: string } }>(USER)
  const { key } = parseToken(made.token)
  const stuck = p.cable.stopAt('eval', 'delay')
  const edit = p.near.ask(EDIT, { token: p.admin, variables: { key } })
  await stuck
  expect(await edit).toMatchObject({ code: 'UNAVAILABLE' })
  expect(await p.control.exists(`token:${key}`)).toBe(1)
  await p.revoke(key)

  await p.control.config('RESETSTAT')
  await p.cable.pass()
  // The edit has arrived.
  await vi.waitFor(async () => expect(await p.control.info('commandstats')).toContain('cmdstat_eval'), {
    timeout: 10_000,
  })
  expect(await p.control.exists(`token:${key}`)).toBe(0)
})
