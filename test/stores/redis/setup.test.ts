import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { parseRedisUrl } from '../../../src/lib/redis-url.ts'
import { assertRedisUsable } from '../../../src/stores/redis/setup.ts'
import { onServer } from '../../support/stores/redis.ts'
import { type RedisProcess, startRedis } from '../../support/stores/stores.ts'

/** The rights that docs/guides/redis.md names. */
const RIGHTS =
  '~token:* &__redis__:invalidate &porthor_clear_token_cache +get +set +eval +del +ping +publish +subscribe +scan +info +hello +client|setname +client|id +client|tracking'

describe('Redis, asked at the start whether it can be used,', () => {
  let server: RedisProcess
  const as = (user: string) => `redis://${user}@127.0.0.1:${server.port}`
  const setUser = (redis: Redis, name: string, rights: string) =>
    redis.call('ACL', 'SETUSER', name, 'on', '>sesame', ...rights.split(' '))
  beforeAll(async () => {
    server = await startRedis()
    await onServer(server.port, async (redis) => {
      await setUser(redis, 'porthor', RIGHTS)
      for (const right of ['get', 'set', 'eval', 'del', 'ping', 'scan']) {
        await setUser(redis, `without-${right}`, `${RIGHTS} -${right}`)
      }
      await setUser(redis, 'elsewhere', RIGHTS.replace('token:', 'other:'))
      await redis.config('SET', 'requirepass', 'sesame')
    })
  })
  afterAll(() => server.stop())

  it.each([
    ['whose password is wrong', 'porthor:wrong', 'WRONGPASS'],
    ['who is not known', 'nobody:sesame', 'WRONGPASS'],
    ['who may not read', 'without-get:sesame', "NOPERM .*'get'"],
    ['who may not write', 'without-set:sesame', "NOPERM .*'set'"],
    ['who may not edit', 'without-eval:sesame', "NOPERM .*'eval'"],
    ['who may not revoke', 'without-del:sesame', "NOPERM .*'del'"],
    ['who may not be asked for its health', 'without-ping:sesame', "NOPERM .*'ping'"],
    ['who may not audit', 'without-scan:sesame', "NOPERM .*'scan'"],
    ['who has no right to its keys', 'elsewhere:sesame', 'NOPERM .*keys'],
  ])('refuses one %s', async (_who, user, words) => {
    await expect(assertRedisUsable(parseRedisUrl(as(user)))).rejects.toThrow(
      new RegExp(`^Redis cannot be used with REDIS_URL: ${words}`),
    )
  })

  it('is refused without a password, and with the number of a database that does not exist', async () => {
    await expect(assertRedisUsable(parseRedisUrl(server.url))).rejects.toThrow(/REDIS_URL: NOAUTH/)
    await expect(assertRedisUsable(parseRedisUrl(`${as(':sesame')}/16`))).rejects.toThrow(
      /REDIS_URL: ERR DB index/,
    )
  })

  it('lets in who has the rights of the docs, and keeps nothing of it', async () => {
    await expect(assertRedisUsable(parseRedisUrl(as('porthor:sesame')))).resolves.toBe(true)
    const observer = new Redis(as(':sesame'))
    onTestFinished(() => observer.disconnect())
    expect(await observer.dbsize()).toBe(0)
  })
})

it('Redis that may delete records when its memory is full is refused if the caller requires it', async () => {
  const server = await startRedis({ args: ['--maxmemory-policy', 'allkeys-lru'] })
  onTestFinished(() => server.stop())
  await expect(assertRedisUsable(parseRedisUrl(server.url), { isEvictionRefused: true })).resolves.toBe(true)
  await onServer(server.port, (redis) => redis.config('SET', 'maxmemory', '100mb'))
  await expect(assertRedisUsable(parseRedisUrl(server.url))).resolves.toBe(true)
  await expect(assertRedisUsable(parseRedisUrl(server.url), { isEvictionRefused: true })).rejects.toThrow(
    /maxmemory-policy noeviction/,
  )
  await onServer(server.port, (redis) => redis.config('SET', 'maxmemory-policy', 'noeviction'))
  await expect(assertRedisUsable(parseRedisUrl(server.url), { isEvictionRefused: true })).resolves.toBe(true)
})

describe('Redis that does not answer at the start', () => {
  it('may do so later: when nobody is there, or somebody is silent', async () => {
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    onTestFinished(() => void silent.close())
    const { port } = silent.address() as AddressInfo
    for (const url of [
      'redis://127.0.0.1:1',
      `redis://127.0.0.1:${port}`,
      'redis+sentinel://127.0.0.1:1/porthor',
      `redis+sentinel://127.0.0.1:${port}/porthor`,
    ]) {
      await expect(assertRedisUsable(parseRedisUrl(url)), url).resolves.toBe(false)
    }
  })
})
