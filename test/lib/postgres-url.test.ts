import { describe, expect, it } from 'vitest'
import { parsePostgresUrl } from '../../src/lib/postgres-url.ts'

const SERVER = 'postgresql://wren:secret@db.example.org:5433/porthor'

describe('parsePostgresUrl', () => {
  it('reads the parameters that Prisma and libpq have, and leaves the driver those that it honours', () => {
    expect(
      parsePostgresUrl(
        `${SERVER}?schema=tokens&connection_limit=5&connect_timeout=2&sslmode=verify-full&statement_timeout=50&application_name=porthor-a`,
      ),
    ).toEqual({
      schema: 'tokens',
      connectionLimit: 5,
      connectTimeoutMs: 2_000,
      channelBinding: true,
      applicationName: 'porthor-a',
      limits: { statement_timeout: 50 },
      connectionString: `${SERVER}?sslmode=verify-full`,
    })
  })

  it('has the schema "public" and the limits of Porthor where a URL has no parameters', () => {
    expect(parsePostgresUrl(SERVER)).toMatchObject({
      schema: 'public',
      connectionLimit: undefined,
      limits: {},
    })
  })

  it.each([
    ['pgbouncer=true', /pgbouncer.*pool_mode=session/],
    ['pool_timeout=10', /pool_timeout.*3 seconds/],
    ['statement_cache_size=0', /statement_cache_size/],
    ['sslmode=allow', /sslmode.*verify-full/],
    ['sslaccept=accept_invalid_certs', /sslaccept.*sslmode=no-verify/],
    ['target_session_attrs=standby', /target_session_attrs/],
    ['connection_limit=0', /whole number from 1 to 1000 in its parameter connection_limit/],
    ['statement_timeout=60000', /whole number from 1 to 5000 in its parameter statement_timeout/],
    ['schema=', /name of a schema in its parameter schema/],
    ['schema=a&schema=b', /schema only once/],
    ['search_path=a', /search_path.*use schema/],
    ['tokens=1', /the unsupported parameter tokens: remove it/],
    ['constructor=1', /the unsupported parameter constructor/],
    ['channel_binding=x', /channel_binding/],
  ])('refuses ?%s by name, and says what would be right', (query, message) => {
    expect(() => parsePostgresUrl(`${SERVER}?${query}`)).toThrow(message)
  })

  it.each([
    ['mysql://wren:hunter2@db.example.org/porthor', /^must be a URL that begins with postgres:/],
    ['postgresql://wren:hunter 2@localhost:1:2/porthor', /^must be a valid URL with one host/],
    ['postgresql://wren:hunter#2@db.example.org/porthor', /must be written as %2F %3F %23/],
  ])('refuses what is no URL of PostgreSQL, without its password (%#)', (text, message) => {
    expect(() => parsePostgresUrl(text)).toThrow(message)
    expect(() => parsePostgresUrl(text)).toThrow(/^(?!.*hunter)/)
  })

  it('never quotes what it refuses', () => {
    expect(() => parsePostgresUrl(`${SERVER}?pass%3Fword@db`)).toThrow(/^(?!.*word).*name is not valid/)
    expect(() => parsePostgresUrl(`${SERVER}?sslmode=hunter2`)).toThrow(/^(?!.*hunter2)/)
  })
})
