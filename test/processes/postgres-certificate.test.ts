import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { parsePostgresUrl } from '../../src/lib/postgres-url.ts'
import { migrate } from '../../src/stores/migrations/migrations.ts'
import { serverSecrets, startServer } from '../support/processes/server-process.ts'
import { BAD_CERTIFICATES } from '../support/stores/certificates.ts'
import { startTlsPostgres } from '../support/stores/postgres-tls.ts'
import { freshRedis } from '../support/stores/stores.ts'

const PATIENT = { timeout: 20_000, interval: 50 }

const SESSION =
  'mutation { made: createSessionToken(input: { username: "wren", scopes: ["read:all"] }) { token } }'
const DELEGATE = 'mutation ($service: String!) { internalToken(service: $service) { key } }'

const log = { info: () => undefined }

async function start() {
  const postgres = await startTlsPostgres()
  onTestFinished(() => postgres.stop())
  return postgres
}

describe('a PostgreSQL whose certificate is not trusted', { timeout: 90_000 }, () => {
  it.each(['redis', 'postgres'])(
    'any more, while Porthor runs with tokens in %s: requests are UNAVAILABLE, the process continues, and all works again with the right one',
    async (store) => {
      const postgres = await start()
      await migrate(parsePostgresUrl(postgres.url), { log })
      const secrets = serverSecrets()
      const stores = store === 'redis' ? { REDIS_URL: (await freshRedis()).url } : { TOKEN_STORE: 'postgres' }
      const server = await startServer({ ...secrets, ...stores, DATABASE_URL: postgres.url })
      onTestFinished(async () => void (await server.stop()))
      const { data } = await server.ask(SESSION, { token: secrets.BOOTSTRAP_TOKEN })
      const { token } = (data as { made: { token: string } }).made
      for (const [index, certificate] of BAD_CERTIFICATES.entries()) {
        const delegate = () => server.ask(DELEGATE, { token, variables: { service: `${index}` } })
        await postgres.show(certificate)
        expect(await delegate()).toMatchObject({ status: 503, code: 'UNAVAILABLE' })
        expect(await delegate()).toMatchObject({ status: 503, code: 'UNAVAILABLE' })
        await postgres.show('right')
        await vi.waitFor(
          async () => expect(await delegate()).toMatchObject({ status: 200, errors: [] }),
          PATIENT,
        )
      }
    },
  )

  it('at the start: the migration fails with that reason, and changes nothing', async () => {
    const postgres = await start()
    for (const certificate of BAD_CERTIFICATES) {
      await postgres.show(certificate)
      await expect(migrate(parsePostgresUrl(postgres.url), { log })).rejects.toThrow(
        /^Cannot connect to PostgreSQL .*certificate/,
      )
    }
    await postgres.show('right')
    expect((await migrate(parsePostgresUrl(postgres.url), { log })).applied).not.toEqual([])
  })
})
