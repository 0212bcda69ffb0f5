import { describe, expect, it } from 'vitest'
import { formatToken, generateToken, parseToken } from '../../src/domain/token.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'

const VIEWER = '{ viewer { user { username } } }'
const LIMIT = 5

const wrongToken = (): string => formatToken(generateToken())

describe.each(['redis', 'postgres'] as const)('failed authentications, with tokens in %s', (store) => {
  const t = usePorthor(
    store,
    {
      AUTH_FAILURES_PER_MINUTE: String(LIMIT),
      TRUSTED_PROXIES: '127.0.0.1',
      CLIENT_SIDE_CACHE: store === 'redis' ? 'true' : 'false',
    },
    { isFresh: true },
  )
  const from = (address: string) => ({ 'X-Forwarded-For': address })
  const ask = (token: string, address = '192.0.2.1') => t.h.ask(VIEWER, { token, headers: from(address) })
  const failOften = async (address?: string) => {
    for (let time = 0; time < LIMIT; time += 1) expect((await ask(wrongToken(), address)).status).toBe(401)
  }

  it('from one address get RATE_LIMITED beyond the limit, with the time to wait', async () => {
    await failOften()
    const { status, code, headers, errors } = await ask(wrongToken())
    expect([status, code]).toEqual([429, 'RATE_LIMITED'])
    expect(headers.get('retry-after')).toBe('12')
    expect(errors[0]?.extensions).toMatchObject({ retryAfter: 12 })
    expect(headers.get('cache-control')).toBe('no-store')
    expect((await ask('not-a-token')).status).toBe(429)
    expect((await ask(wrongToken(), '192.0.2.2')).status).toBe(401)
  })

  it('never prevent a valid token from being accepted, from any address', async () => {
    const sessions = await Promise.all(['wren', 'finch'].map((username) => t.h.session(username)))
    await failOften()
    const wrong = Array.from({ length: 100 }, () => ask(wrongToken()))
    for (const token of [...sessions, ...sessions]) expect((await ask(token)).errors).toEqual([])
    expect(new Set((await Promise.all(wrong)).map(({ status }) => status))).toEqual(new Set([429]))
    expect(
      (await t.h.ask('{ scopes { name } }', { token: t.h.bootstrapToken, headers: from('192.0.2.1') }))
        .errors,
    ).toEqual([])
  })

  it('beyond the limit do not show whether the token was revoked or only its secret is wrong', async () => {
    const session = await t.h.session()
    const { key } = parseToken(session)
    await failOften()
    expect((await ask(session)).status).toBe(200)
    expect((await ask(formatToken({ ...generateToken(), key }))).status).toBe(429)
    expect((await ask(session)).status).toBe(200)
    await t.h.ask(`mutation { revokeToken(key: "${key}") { keys } }`, { token: t.h.bootstrapToken })
    await expect.poll(async () => (await ask(session)).status).toBe(429)
  })

  it('are no longer counted after a minute', async () => {
    await failOften()
    expect((await ask(wrongToken())).status).toBe(429)
    t.h.clock.advance(60)
    await failOften()
    expect((await ask(wrongToken())).status).toBe(429)
  })

  it('do not count where no token is sent, and requests that require none still succeed', async () => {
    const anonymous = () => t.h.ask(VIEWER, { headers: from('192.0.2.1') })
    for (let time = 0; time < 2 * LIMIT; time += 1) expect((await anonymous()).status).toBe(401)
    expect((await ask(wrongToken())).status).toBe(401)
    await failOften('192.0.2.3')
    expect((await t.h.ask('{ __typename }', { headers: from('192.0.2.3') })).status).toBe(200)
  })

  it('are logged once for an address', async () => {
    await failOften()
    for (let time = 0; time < 3; time += 1) await ask(wrongToken())
    const lines = t.h.logLines.filter(({ msg }) => msg.startsWith('too many failed'))
    expect(lines).toMatchObject([{ level: 40, ipAddress: '192.0.2.1', failuresPerMinute: LIMIT }])
  })
})
