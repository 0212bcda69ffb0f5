import { once } from 'node:events'
import { Redis } from 'ioredis'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Fernet, generateFernetKey } from '../../../src/lib/fernet.ts'
import { parseRedisUrl } from '../../../src/lib/redis-url.ts'
import { openRedis } from '../../../src/stores/redis/client.ts'
import { MAX_WAITING, type RedisClient } from '../../../src/stores/redis/commands.ts'
import { EncryptedRecords } from '../../../src/stores/token-store/encrypted-records.ts'
import { RedisTokenStore } from '../../../src/stores/token-store/redis-token-store.ts'
import { recordingLog } from '../../support/checks/log.ts'
import { freshRedis, type RedisProcess, startRedis } from '../../support/stores/stores.ts'
import { openTcpProxy } from '../../support/stores/tcp-proxy.ts'
import { tokenStoreContract } from '../../support/stores/token-store-contract.ts'
import { aSession, aToken, at, NOW } from '../../support/tokens/token-data.ts'
import { TestClock } from '../../support/waiting/test-clock.ts'

describe('the Redis token store', () => {
  let redis: Redis

  const opened = tokenStoreContract(async ({ records, clock }) => {
    const { url } = await freshRedis()
    redis = new Redis(url)
    const ours = openRedis(parseRedisUrl(url), recordingLog().log)
    return {
      store: new RedisTokenStore({ redis: ours, records, clock }),
      read: (key) => redis.get(`token:${key}`),
      write: async (key, value) => {
        await redis.set(`token:${key}`, value)
      },
      close: async () => {
        ours.disconnect()
        redis.disconnect()
      },
    }
  })

  /** The commands that `work` has Redis do, as Redis saw them. */
  async function commandsOf(work: () => Promise<unknown>): Promise<string[][]> {
    const commands: string[][] = []
    // A command that comes while MONITOR is being turned on confuses ioredis.
    await opened().store.ping()
    const monitor = await redis.monitor()
    monitor.on('monitor', (_time: string, args: string[]) => commands.push(args))
    await work()
    const last = `the end of ${commands.length}`
    await redis.echo(last)
    while (!commands.some((args) => args.includes(last))) await redis.ping()
    monitor.disconnect()
    return commands.filter(([name]) => name !== 'ping' && name !== 'echo')
  }

  it('writes a token under token:<key>, with its remaining whole seconds as TTL', async () => {
    const data = aSession({ expiresAt: at(86_400) })
    opened().clock.advance(400)
    const commands = await commandsOf(() => opened().store.put(data))

    expect(commands).toEqual([['set', `token:${data.token.key}`, expect.any(String), 'EX', '86000']])
    expect(await redis.ttl(`token:${data.token.key}`)).toBeGreaterThan(0)
  })

  it('lets Redis delete a token that was written within a second not before it expires', async () => {
    const data = aSession({ expiresAt: at(86_400) })
    opened().clock.advance(86_399.7)
    const commands = await commandsOf(() => opened().store.put(data))

    expect(commands).toEqual([['set', `token:${data.token.key}`, expect.any(String), 'EX', '1']])
    expect(await opened().store.find(data.token.key)).toEqual(data)
  })

  it('gives no TTL to a token that never expires, even if it had an expiry before', async () => {
    const redisKey = `token:${aSession().token.key}`
    await opened().store.put(aSession({ expiresAt: at(300) }))
    expect(await redis.ttl(redisKey)).toBeGreaterThan(0)

    const commands = await commandsOf(() => opened().store.put(aSession({ expiresAt: null })))
    expect(commands).toEqual([['set', redisKey, expect.any(String)]])
    expect(await redis.ttl(redisKey)).toBe(-1)
  })

  it('refuses a token that has expired after another program removed its TTL', async () => {
    const data = aSession({ expiresAt: at(300) })
    await opened().store.put(data)
    await redis.persist(`token:${data.token.key}`)
    opened().clock.advance(300)

    expect(await opened().store.find(data.token.key)).toBe(undefined)
  })

  it('sends one key per command, so that a cluster can serve it', async () => {
    const keys = ['a', 'b', 'c'].map((name) => aToken(name).key)
    const commands = await commandsOf(async () => {
      await opened().store.find(aToken('a').key)
      await opened().store.delete(keys)
    })

    expect(commands).toEqual([['get', `token:${keys[0]}`], ...keys.map((key) => ['del', `token:${key}`])])
  })

  it('finds no token under a value that is no string, and logs that', async () => {
    const { key } = aSession().token
    await redis.rpush(`token:${key}`, 'a list')

    expect(await opened().store.find(key)).toBe(undefined)
    expect(opened().logLines).toEqual([
      expect.objectContaining({ msg: 'token store record is damaged', tokenKey: key }),
    ])
    expect(await opened().store.inspect([key])).toEqual(new Map([[key, { fault: expect.any(String) }]]))
    await opened().store.put(aSession())
    expect(await opened().store.find(key)).toEqual(aSession())
  })

  it('ignores keys of other programs', async () => {
    await redis.set('quota-overrides', '{}')
    await redis.set(aToken('a').key, 'not ours')
    await opened().store.delete([aToken('a').key])

    expect(await redis.keys('*')).toHaveLength(2)
  })
})

it('a record that could not be written in time is not written later, when the token may have been revoked', async () => {
  const { url } = await freshRedis()
  const cable = await openTcpProxy(url)
  const [near, far] = [
    openRedis(parseRedisUrl(url), recordingLog().log),
    openRedis(parseRedisUrl(cable.through(url)), recordingLog().log),
  ]
  onTestFinished(async () => {
    near.disconnect()
    far.disconnect()
    await cable.close()
  })
  const clock = new TestClock(NOW)
  const records = new EncryptedRecords({
    fernet: new Fernet([generateFernetKey()]),
    clock,
    log: recordingLog().log,
  })
  const store = new RedisTokenStore({ redis: far, records, clock })
  await store.ping()
  await cable.refuse()
  await expect(store.put(aSession())).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  await near.del(`token:${aSession().token.key}`)
  await cable.pass()

  await store.ping()
  expect(await store.find(aSession().token.key)).toBe(undefined)
})

it('a record whose connection was lost before the reply is not written again: by then the token may have been revoked', async () => {
  const { url } = await freshRedis()
  const cable = await openTcpProxy(url)
  const redis = openRedis(parseRedisUrl(cable.through(url)), recordingLog().log)
  onTestFinished(async () => {
    redis.disconnect()
    await cable.close()
  })
  const clock = new TestClock(NOW)
  const records = new EncryptedRecords({
    fernet: new Fernet([generateFernetKey()]),
    clock,
    log: recordingLog().log,
  })
  const store = new RedisTokenStore({ redis, records, clock })
  await store.ping()
  const lost = cable.stopAt('set', 'before')
  await expect(Promise.all([store.put(aSession()), lost])).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  expect(await store.find(aSession().token.key)).toBe(undefined)
})

it.each<
  [
    string,
    (server: RedisProcess, redis: RedisClient) => unknown,
    (server: RedisProcess) => Promise<RedisProcess>,
  ]
>([
  [
    'silent',
    (server) => server.pause(),
    async (server) => {
      server.resume()
      return server
    },
  ],
  [
    'down',
    (server, redis) => Promise.all([once(redis, 'close'), server.kill()]),
    ({ port }) => startRedis({ port }),
  ],
])(
  'while Redis is %s, no more commands wait for it than fit into memory, and then all works again',
  async (_state, end, begin) => {
    let server = await startRedis()
    const redis = openRedis(parseRedisUrl(server.url), recordingLog().log)
    onTestFinished(async () => {
      redis.disconnect()
      await server.stop()
    })
    await redis.ping()
    await end(server, redis)
    let settled = 0
    const waiting = Array.from({ length: MAX_WAITING }, () =>
      redis.get('x').finally(() => {
        settled += 1
      }),
    )
    const outcomes = Promise.allSettled(waiting)
    await expect(redis.get('x')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(settled).toBe(0)

    await outcomes
    server = await begin(server)
    await vi.waitFor(() => redis.ping(), { timeout: 10_000 })
    expect(await redis.get('x')).toBe(null)
  },
)

it('a connection to a server that became read-only is opened again, perhaps to its successor', async () => {
  const server = await startRedis()
  const redis = openRedis(parseRedisUrl(server.url), recordingLog().log)
  onTestFinished(async () => {
    redis.disconnect()
    await server.stop()
  })
  const before = await redis.client('ID')
  await redis.call('REPLICAOF', '127.0.0.1', '1')
  await expect(redis.set('x', 'y')).rejects.toThrow(/^READONLY/)

  expect(await redis.client('ID')).not.toBe(before)
})
