import { expect, it, onTestFinished, vi } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { openTrackedPair } from '../support/porthor/tracked-pair.ts'
import { openTcpProxy } from '../support/stores/tcp-proxy.ts'

const USER = `mutation ($scopes: [String!]!) {
  made: createUserToken(input: { username: "wren", tokenName: "desk", scopes: $scopes }) { token }
}`
const EDIT = `mutation ($key: ID!, $scopes: [String!]!) { edited: modifyToken(key: $key, input: { scopes: $scopes }) { key } }`

/** A user token, of which `edit` is stuck on the wire until `arrive`, which resolves when Redis has had it. */
async function openStuckEdit(scopes: { readonly before: string[]; readonly edit: string[] }) {
  const p = await openTrackedPair(onTestFinished, openTcpProxy)
  const { made } = await p.asAdmin<{ made: { token: string } }>(USER, { scopes: scopes.before })
  const { key } = parseToken(made.token)
  const stuck = p.cable.stopAt('eval', 'delay')
  const edit = p.near.ask(EDIT, { token: p.admin, variables: { key, scopes: scopes.edit } })
  await stuck
  expect(await edit).toMatchObject({ code: 'UNAVAILABLE' })
  const record = () => p.control.get(`token:${key}`)
  expect(await record()).toEqual(expect.any(String))
  const arrive = async () => {
    await p.control.config('RESETSTAT')
    await p.cable.pass()
    await vi.waitFor(async () => expect(await p.control.info('commandstats')).toContain('cmdstat_eval'), {
      timeout: 10_000,
    })
  }
  return { p, key, record, arrive }
}

it('a revoked token stays revoked, though an edit of it by another process arrives late', async () => {
  const { p, key, record, arrive } = await openStuckEdit({
    before: ['read:all', 'read:tap'],
    edit: ['read:tap'],
  })
  await p.revoke(key)
  await arrive()
  expect(await record()).toBe(null)
})

it('a narrowed token stays narrowed, though the edit that had widened it arrives late', async () => {
  const { p, key, record, arrive } = await openStuckEdit({
    before: ['read:tap'],
    edit: ['read:all', 'read:tap'],
  })
  await p.asAdmin(EDIT, { key, scopes: ['read:tap'] })
  const narrowed = await record()
  await arrive()
  expect(await record()).toBe(narrowed)
})
