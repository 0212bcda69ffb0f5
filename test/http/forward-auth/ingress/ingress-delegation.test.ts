import { describe, expect, it } from 'vitest'
import { formatToken, generateToken, parseToken } from '../../../../src/domain/token.ts'
import { type PorthorInTest, usePorthor } from '../../../support/porthor/use-porthor.ts'
import { askIngress } from '../../../support/requests/ingress.ts'

const INGRESS = { AUTH_PORT: '0', INGRESS_AUTH: 'true' }

const askWith = ({ h }: PorthorInTest, query: string, token: string) =>
  askIngress(h.authUrl, query, { Authorization: `Bearer ${token}` })

describe('with DELEGATION_SERVICES', () => {
  const t = usePorthor('postgres', {
    ...INGRESS,
    DELEGATION_SERVICES: '{"tap": ["read:all"]}',
    MAX_CHILDREN: '2',
  })

  it('a service gets those of the scopes that are listed for it, and one that is not listed is 422 invalid_service', async () => {
    const session = await t.h.session('wren', ['read:all', 'exec:notebook'])
    const scopes = 'delegate_scope=read:all&delegate_scope=exec:notebook'
    const token = (await askWith(t, `delegate_to=tap&${scopes}`, session)).value('X-Auth-Request-Token') ?? ''
    expect((await t.h.stored(token)).scopes).toEqual(['read:all'])
    const answer = await askWith(t, 'delegate_to=portal', session)
    expect([answer.status, answer.detail]).toMatchObject([
      422,
      [{ loc: ['query', 'delegate_to'], type: 'invalid_service' }],
    ])
    const unknown = formatToken(generateToken())
    expect((await askWith(t, 'delegate_to=portal', unknown)).status).toBe(401)
  })

  it('more children than a token may have are 403, and those that there are are still delegated', async () => {
    const session = await t.h.session('wren', ['read:all'])
    const queries = ['notebook=1', 'delegate_to=tap&delegate_scope=read:all']
    for (const query of queries) expect((await askWith(t, query, session)).status).toBe(200)
    const answer = await askWith(t, 'delegate_to=tap', session)
    expect([answer.status, answer.value('X-Error-Status')]).toEqual([403, '403'])
    expect(answer.detail).toMatchObject([{ type: 'too_many_tokens' }])
    for (const query of queries) expect((await askWith(t, query, session)).status).toBe(200)
  })
})

describe('with DELEGATION=gateway', () => {
  const t = usePorthor('postgres', { ...INGRESS, DELEGATION: 'gateway' })

  it('the endpoint delegates without a token of a gateway, but not from a delegated token', async () => {
    const session = await t.h.session('wren', ['read:all'])
    const child = (await askWith(t, 'delegate_to=portal', session)).value('X-Auth-Request-Token') ?? ''
    expect((await askWith(t, 'only_service=portal', child)).status).toBe(200)
    const answer = await askWith(t, 'delegate_to=tap', child)
    expect([answer.status, answer.detail]).toMatchObject([403, [{ type: 'permission_denied' }]])
  })
})

describe('with a client-side cache', () => {
  const t = usePorthor('redis', { ...INGRESS, CLIENT_SIDE_CACHE: 'true', PUBLIC_URL: 'https://example.org' })
  const calls = async () => /cmdstat_get:calls=(\d+)/.exec(await t.h.redis.info('commandstats'))?.[1]

  it('a warm request gets the same response as the first, and sends no command to Redis', async () => {
    const session = await t.h.session('wren', ['read:all', 'exec:notebook'])
    const child = (await askWith(t, 'delegate_to=portal', session)).value('X-Auth-Request-Token') ?? ''
    const responses = async () => {
      const all = []
      for (const token of [session, child]) {
        for (const query of [
          ...['scope=read:all', 'scope=write:all', 'satisfy=x', 'delegate_to=a%20b', 'username=ada'],
          ...['delegate_to=tap&delegate_scope=read:all&delegate_scope=write:all', 'notebook=1'],
          ...['only_service=portal', 'use_authorization=1&delegate_to=tap', 'minimum_lifetime=1e9'],
        ]) {
          const { status, raw, body } = await askWith(t, query, token)
          all.push({ query, status, body, raw: raw.filter(([name]) => name !== 'Date') })
        }
      }
      return all
    }
    const first = await responses()
    // Reads what was issued: the cache has records that were read, not those that were written.
    await responses()
    const before = await calls()
    expect(await responses()).toEqual(first)
    expect(await calls()).toBe(before)
  })

  it('a token that was revoked is refused at once', async () => {
    const session = await t.h.session('wren', ['read:all', 'user:token'])
    for (let time = 0; time < 2; time += 1) {
      expect((await askWith(t, 'delegate_to=tap', session)).status).toBe(200)
    }
    await t.h.ask(`mutation { revokeToken(key: "${parseToken(session).key}") { keys } }`, { token: session })
    expect((await askWith(t, 'delegate_to=tap', session)).status).toBe(401)
  })
})
