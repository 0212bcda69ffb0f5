import { describe, expect, it, type TestContext, vi } from 'vitest'
import { serverSecrets, startServer } from '../support/processes/server-process.ts'
import { BAD_CERTIFICATES } from '../support/stores/certificates.ts'
import { findFreePort } from '../support/stores/redis.ts'
import { startTlsRedis, type TlsRedis } from '../support/stores/redis-tls.ts'
import { freshDatabase } from '../support/stores/stores.ts'

const PATIENT = { timeout: 20_000, interval: 50 }

const SESSION =
  'mutation { made: createSessionToken(input: { username: "wren", scopes: ["read:all"] }) { token } }'
const DELEGATE = 'mutation ($service: String!) { internalToken(service: $service) { key } }'

async function start(
  onTestFinished: TestContext['onTestFinished'],
  begin: (redis: TlsRedis) => Promise<void>,
) {
  const redis = await startTlsRedis(await findFreePort())
  onTestFinished(() => redis.stop())
  await begin(redis)
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const secrets = serverSecrets()
  const server = await startServer({
    ...secrets,
    DATABASE_URL: database.url,
    REDIS_URL: redis.url,
    NODE_EXTRA_CA_CERTS: redis.authority,
  })
  onTestFinished(async () => void (await server.stop()))
  return { redis, server, admin: secrets.BOOTSTRAP_TOKEN }
}

describe('a Redis whose certificate is not trusted', { timeout: 60_000 }, () => {
  it('any more, while Porthor runs: requests are UNAVAILABLE, the process continues, and all works again with the right one', async ({
    onTestFinished,
  }) => {
    const { redis, server, admin } = await start(onTestFinished, async () => undefined)
    const { data } = await server.ask(SESSION, { token: admin })
    const { token } = (data as { made: { token: string } }).made
    for (const [index, certificate] of BAD_CERTIFICATES.entries()) {
      const delegate = () => server.ask(DELEGATE, { token, variables: { service: `${index}` } })
      await redis.show(certificate)
      expect(await delegate()).toMatchObject({ status: 503, code: 'UNAVAILABLE' })
      expect(await delegate()).toMatchObject({ status: 503, code: 'UNAVAILABLE' })
      await redis.show('right')
      await vi.waitFor(
        async () => expect(await delegate()).toMatchObject({ status: 200, errors: [] }),
        PATIENT,
      )
    }
  })

  it('at the start: Porthor starts, requests are UNAVAILABLE, and all works with the right one', async ({
    onTestFinished,
  }) => {
    const { redis, server, admin } = await start(onTestFinished, ({ show }) => show('expired'))
    const create = () => server.ask(SESSION, { token: admin })
    expect(await create()).toMatchObject({ status: 503, code: 'UNAVAILABLE' })
    await redis.show('right')
    await vi.waitFor(async () => expect(await create()).toMatchObject({ status: 200, errors: [] }), PATIENT)
  })
})
