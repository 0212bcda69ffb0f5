import { describe, expect, it } from 'vitest'
import { formatToken, generateToken } from '../../../src/domain/token.ts'
import { openBreakablePorthor } from '../../support/porthor/breakable-porthor.ts'
import { bearer, exchangeOf, type OAuthAnswer, postForm, serviceToken } from '../../support/requests/oauth.ts'

const expectUnavailable = ({ status, headers, json }: OAuthAnswer): void => {
  expect([status, json.error, headers['retry-after']]).toEqual([503, 'temporarily_unavailable', '1'])
}

// Each test has stores of its own, and waits for a bound to pass.
describe.concurrent('the OAuth endpoints say that they do not know, and never that a token is invalid,', {
  timeout: 60_000,
}, () => {
  it.for(['redis', 'postgres'] as const)(
    'while a token store in %s is unreachable, and all works again afterwards',
    async (store, { onTestFinished }) => {
      const f = await openBreakablePorthor(store, onTestFinished)
      const service = bearer(await serviceToken(f.h, 'bot-tap', ['introspect:token']))
      const requests = [
        (token: string) => postForm(f.h, '/oauth/token', exchangeOf(token)),
        (token: string) => postForm(f.h, '/oauth/introspect', { token }, service),
        (token: string) => postForm(f.h, '/oauth/introspect', { token }, bearer(f.h.bootstrapToken)),
        (token: string) => postForm(f.h, '/oauth/revoke', { token }),
      ]
      if (store === 'redis') await f.redis.kill()
      else await f.cable.refuse()
      const unknown = formatToken(generateToken())
      const sent = [f.session, unknown].flatMap((token) => requests.map((request) => request(token)))
      for (const answer of await Promise.all(sent)) expectUnavailable(answer)
      if (store === 'redis') await f.startRedisAgain()
      else await f.cable.pass()
      await f.ready()
      for (const request of requests) expect((await request(f.session)).status).toBe(200)
      await f.expectNothingHalfMade()
      expect(f.errors()).toEqual([])
    },
  )

  it('while PostgreSQL is unreachable: a revocation that was not recorded is not claimed', async ({
    onTestFinished,
  }) => {
    const f = await openBreakablePorthor('redis', onTestFinished)
    await f.cable.refuse()
    expectUnavailable(await postForm(f.h, '/oauth/revoke', { token: f.session }))
    expectUnavailable(await postForm(f.h, '/oauth/token', exchangeOf(f.session)))
    const admin = bearer(f.h.bootstrapToken)
    const introspect = () => postForm(f.h, '/oauth/introspect', { token: f.session }, admin)
    expect((await introspect()).json.active).toBe(true)
    await f.cable.pass()
    await f.ready()
    expect((await postForm(f.h, '/oauth/revoke', { token: f.session })).status).toBe(200)
    expect((await introspect()).json).toEqual({ active: false })
  })
})
