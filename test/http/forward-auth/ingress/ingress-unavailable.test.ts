import { describe, expect, it, onTestFinished } from 'vitest'
import { type BreakablePorthor, openBreakablePorthor } from '../../../support/porthor/breakable-porthor.ts'
import { askIngress, type IngressAnswer, stateCookie } from '../../../support/requests/ingress.ts'

/** Opens one with the listener for gateways. */
async function open(): Promise<BreakablePorthor> {
  const b = await openBreakablePorthor('redis', onTestFinished)
  const DATABASE_URL = b.cable.through(b.h.env.DATABASE_URL ?? '')
  await b.h.restart({ DATABASE_URL, AUTH_PORT: '0', INGRESS_AUTH: 'true' })
  return b
}

const ask = ({ h, session }: BreakablePorthor, query: string, headers = {}) =>
  askIngress(h.authUrl, query, { Authorization: `Bearer ${session}`, ...headers })

function expectUnavailable(answer: IngressAnswer): void {
  expect([answer.status, answer.value('Retry-After')]).toEqual([503, '1'])
  expect(answer.detail).toMatchObject([{ type: 'unavailable' }])
  expect([answer.values('WWW-Authenticate'), answer.values('X-Auth-Request-User')]).toEqual([[], []])
}

describe('unknown is not invalid: while a store does not respond, the response is 503 with Retry-After', () => {
  it('Redis, for a bearer token and for a cookie', async () => {
    const b = await open()
    await b.redis.stop()
    expectUnavailable(await ask(b, 'scope=read:all'))
    const cookie = { Authorization: undefined, Cookie: stateCookie(b.h, b.session) }
    expectUnavailable(await ask(b, 'scope=read:all', cookie))
    expectUnavailable(await ask(b, 'notebook=1', { 'X-Requested-With': 'XMLHttpRequest' }))
    // What needs no store is not affected.
    expect((await askIngress(b.h.authUrl)).status).toBe(401)
    expect((await askIngress(b.h.authUrl, '', {}, { path: '/ingress/anonymous' })).status).toBe(200)
  })

  it('PostgreSQL, where a token has to be issued; what is in memory is still delegated', async () => {
    const b = await open()
    const token = (await ask(b, 'delegate_to=tap')).value('X-Auth-Request-Token')
    await b.cable.refuse()
    expectUnavailable(await ask(b, 'delegate_to=portal'))
    expectUnavailable(await ask(b, 'notebook=1'))
    const answer = await ask(b, 'delegate_to=tap')
    expect([answer.status, answer.value('X-Auth-Request-Token')]).toEqual([200, token])
    expect((await ask(b, 'scope=read:all')).status).toBe(200)
    expect(b.errors()).toEqual([])
  })
})
