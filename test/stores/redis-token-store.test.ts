import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { openRedis } from '../../src/stores/redis.ts'
import { RedisTokenStore } from '../../src/stores/redis-token-store.ts'
import { recordingLog } from '../support/log.ts'
import { freshRedis } from '../support/stores.ts'
import { aSession, aToken, at } from '../support/token-data.ts'
import { tokenStoreContract } from '../support/token-store-contract.ts'

describe('the Redis token store', () => {
  let redis: Redis

  const opened = tokenStoreContract(async ({ records, clock }) => {
    const { url } = await freshRedis()
    redis = new Redis(url)
    const ours = openRedis(url, recordingLog().log)
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
    const monitor = await redis.monitor()
    monitor.on('monitor', (_time: string, args: string[]) => commands.push(args))
    await work()
    const last = `the end of ${commands.length}`
    await redis.echo(last)
    while (!commands.some((args) => args.includes(last))) await redis.ping()
    monitor.disconnect()
    return commands.filter(([name]) => name !== 'ping' && name !== 'echo')
  }

  it('files a token under token:<key>, to be dropped after the whole seconds to its end', async () => {
    const data = aSession({ expiresAt: at(86_400) })
    opened().clock.advance(400)
    const commands = await commandsOf(() => opened().store.put(data))

    expect(commands).toEqual([['set', `token:${data.token.key}`, expect.any(String), 'EX', '86000']])
    expect(await redis.ttl(`token:${data.token.key}`)).toBeGreaterThan(0)
  })

  it('never drops a token that never ends, even one that once had an end', async () => {
    const redisKey = `token:${aSession().token.key}`
    await opened().store.put(aSession({ expiresAt: at(300) }))
    expect(await redis.ttl(redisKey)).toBeGreaterThan(0)

    const commands = await commandsOf(() => opened().store.put(aSession({ expiresAt: null })))
    expect(commands).toEqual([['set', redisKey, expect.any(String)]])
    expect(await redis.ttl(redisKey)).toBe(-1)
  })

  it('refuses a token that was made endless behind its back when its time has come', async () => {
    const data = aSession({ expiresAt: at(300) })
    await opened().store.put(data)
    await redis.persist(`token:${data.token.key}`)
    opened().clock.advance(300)

    expect(await opened().store.get(data.token.key)).toBe(undefined)
  })

  it('asks for one key at a time, so that a cluster can serve it', async () => {
    const keys = ['a', 'b', 'c'].map((name) => aToken(name).key)
    const commands = await commandsOf(async () => {
      await opened().store.get(aToken('a').key)
      await opened().store.delete(keys)
    })

    expect(commands).toEqual([['get', `token:${keys[0]}`], ...keys.map((key) => ['del', `token:${key}`])])
  })

  it('leaves the keys of others alone', async () => {
    await redis.set('quota-overrides', '{}')
    await redis.set(aToken('a').key, 'not ours')
    await opened().store.delete([aToken('a').key])

    expect(await redis.keys('*')).toHaveLength(2)
  })
})
