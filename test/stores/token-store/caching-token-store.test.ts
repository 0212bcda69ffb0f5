import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  generateToken,
  NO_USER_INFO,
  type RootTokenData,
  type TokenKey,
  unsafeTokenKey,
} from '../../../src/domain/token.ts'
import { Fernet, generateFernetKey } from '../../../src/lib/fernet.ts'
import { createLogger } from '../../../src/lib/logger.ts'
import { CachingTokenStore } from '../../../src/stores/token-store/caching-token-store.ts'
import { EncryptedRecords } from '../../../src/stores/token-store/encrypted-records.ts'
import { RedisInvalidations } from '../../../src/stores/token-store/redis-invalidations.ts'
import { REDIS_PREFIX, RedisTokenStore } from '../../../src/stores/token-store/redis-token-store.ts'
import { heapGrowth } from '../../support/checks/heap.ts'
import { recordingLog } from '../../support/checks/log.ts'
import { type RedisProcess, startRedis } from '../../support/stores/stores.ts'
import { tokenStoreContract } from '../../support/stores/token-store-contract.ts'
import { TestClock } from '../../support/waiting/test-clock.ts'

const clock = new TestClock()
const silent = createLogger('silent')

let server: RedisProcess
let redis: Redis
let other: Redis
let direct: WatchedRedisTokenStore
let tracked: CachingTokenStore
let tracking: RedisInvalidations
let asked: string[]
/** Whether the link counts as live where it is so. */
let isHeard: boolean
/** Replies wait for it, once Redis has given them. */
let replies: Promise<void>

/** The real store, which records what is read from it. */
class WatchedRedisTokenStore extends RedisTokenStore {
  override async find(key: TokenKey) {
    asked.push(key)
    const reply = await super.find(key)
    await replies
    return reply
  }
}

const open = (url: string, log = silent) => {
  redis = new Redis(url, { retryStrategy: () => 20, maxRetriesPerRequest: null })
  redis.on('error', () => undefined)
  const records = new EncryptedRecords({ fernet: new Fernet([generateFernetKey()]), clock, log })
  direct = new WatchedRedisTokenStore({ redis, records, clock })
  asked = []
  isHeard = true
  replies = Promise.resolve()
  tracked = new CachingTokenStore({
    store: direct,
    clock,
    size: 100,
    isLive: () => isHeard && tracking.isLive,
  })
  tracking = new RedisInvalidations({ redis, clock, log, onChange: (keys) => tracked.onChange(keys) })
}

/** Word of the token's own writing may take away the first copy. */
const untilCopied = ({ token }: RootTokenData): Promise<void> =>
  vi.waitFor(async () => {
    await tracked.find(token.key)
    expect(tracked.findCopy(token.key)).toBeDefined()
  })

const aToken = (): RootTokenData => ({
  type: 'session',
  token: generateToken(),
  username: 'wren',
  userInfo: NO_USER_INFO,
  scopes: ['read:all'],
  createdAt: clock.now(),
  expiresAt: new Date(clock.now().getTime() + 3_600_000),
})

const untilLive = () => vi.waitFor(() => expect(tracking.isLive).toBe(true), { timeout: 5_000, interval: 5 })
const untilDead = () => vi.waitFor(() => expect(tracking.isLive).toBe(false), { timeout: 5_000, interval: 5 })

beforeEach(async () => {
  server = await startRedis()
  other = new Redis(server.url)
  other.on('error', () => undefined)
  open(server.url)
  await untilLive()
})

afterEach(async () => {
  tracking.close()
  redis.disconnect()
  other.disconnect()
  await server.stop()
})

describe('a store with a client-side cache', () => {
  it('reads a token from Redis once, and not again while it does not change', async () => {
    const data = aToken()
    await tracked.put(data)
    expect(await tracked.find(data.token.key)).toEqual(data)
    expect(await tracked.find(data.token.key)).toEqual(data)
    expect(await tracked.find(data.token.key)).toEqual(data)
    expect(asked).toHaveLength(1)
  })

  it('removes at once what this process deletes or changes', async () => {
    const data = aToken()
    await tracked.put(data)
    await tracked.find(data.token.key)
    await tracked.put({ ...data, scopes: [] })
    expect(await tracked.find(data.token.key)).toMatchObject({ scopes: [] })
    await tracked.delete([data.token.key])
    expect(await tracked.find(data.token.key)).toBe(undefined)
  })

  it('removes what another process changes', async () => {
    const data = aToken()
    await tracked.put(data)
    await tracked.find(data.token.key)
    await other.del(REDIS_PREFIX + data.token.key)
    await vi.waitFor(async () => expect(await tracked.find(data.token.key)).toBe(undefined))
  })

  it('removes everything when Redis is flushed', async () => {
    const data = aToken()
    await tracked.put(data)
    await tracked.find(data.token.key)
    await other.flushall()
    await vi.waitFor(async () => expect(await tracked.find(data.token.key)).toBe(undefined))
  })

  it('decides by the clock whether a token has expired, and not by Redis', async () => {
    const data = aToken()
    await tracked.put(data)
    await tracked.find(data.token.key)
    clock.advance(3_600)
    expect(await tracked.find(data.token.key)).toBe(undefined)
    clock.advance(-3_600)
  })

  it('keeps nothing of the header of which a key is a slice', async () => {
    const grown = await heapGrowth(async () => {
      for (let index = 0; index < 100; index += 1) {
        const data = aToken()
        await tracked.put(data)
        const header = `Bearer ${' '.repeat(100_000)}gt-${data.token.key}`
        // Again, where word of the writing itself comes so late that it takes the copy away.
        await vi.waitFor(async () => {
          await tracked.find(unsafeTokenKey(header.slice(-22)))
          expect(tracked.findCopy(data.token.key)).toEqual(data)
        })
        asked.length = 0
      }
    })
    expect(grown).toBeLessThan(2 * 2 ** 20)
  })

  it('returns a cached token without waiting, and nothing if it is not cached or has expired', async () => {
    const data = aToken()
    await tracked.put(data)
    expect(tracked.findCopy(data.token.key)).toBe(undefined)
    await untilCopied(data)
    const before = asked.length
    expect(tracked.findCopy(data.token.key)).toEqual(data)
    clock.advance(3_600)
    expect(tracked.findCopy(data.token.key)).toBe(undefined)
    expect(asked).toHaveLength(before)
  })

  it('returns no cached token while invalidations are not confirmed, even if the connections are open', async () => {
    const data = aToken()
    await tracked.put(data)
    await untilCopied(data)
    isHeard = false
    expect(tracked.findCopy(data.token.key)).toBe(undefined)
  })

  it('reads from Redis itself if a fresh record is required', async () => {
    const data = aToken()
    await tracked.put(data)
    await tracked.find(data.token.key)
    await tracked.find(data.token.key, { isFresh: true })
    expect(asked).toHaveLength(2)
  })

  it('does not cache a reply that arrives after the invalidation of its key', async () => {
    const data = aToken()
    const heard = vi.spyOn(tracked, 'onChange')
    await tracked.put(data)
    await vi.waitFor(() => expect(heard).toHaveBeenCalledTimes(1))
    let release: () => void = () => undefined
    replies = new Promise((resolve) => {
      release = resolve
    })
    const reply = tracked.find(data.token.key)
    await other.del(REDIS_PREFIX + data.token.key)
    await vi.waitFor(() => expect(heard).toHaveBeenCalledTimes(2))
    release()
    // The question was asked before the change, and may be answered so; the next one may not.
    expect(await reply).toEqual(data)
    expect(await tracked.find(data.token.key)).toBe(undefined)
  })

  it('reads from Redis each time while the connections are down, and caches again when they are back', async () => {
    const data = aToken()
    await tracked.put(data)
    await tracked.find(data.token.key)
    await other.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await untilDead()
    await tracked.find(data.token.key)
    await tracked.find(data.token.key)
    expect(asked).toHaveLength(3)
    await untilLive()
    await tracked.find(data.token.key)
    await tracked.find(data.token.key)
    expect(asked).toHaveLength(4)
  })

  it('uses no cached token when Redis has been silent', async () => {
    const data = aToken()
    await tracked.put(data)
    await tracked.find(data.token.key)
    server.pause()
    await untilDead()
    const question = tracked.find(data.token.key)
    expect(asked).toHaveLength(2)
    server.resume()
    expect(await question).toEqual(data)
    await untilLive()
  })

  it('uses no cached token from before a restart of Redis', async () => {
    const data = aToken()
    await tracked.put(data)
    await tracked.find(data.token.key)
    await server.kill()
    server = await startRedis({ port: server.port })
    await vi.waitFor(async () => expect(await tracked.find(data.token.key)).toBe(undefined), {
      timeout: 5_000,
    })
    await untilLive()
  })
})

describe('the connections for invalidations', () => {
  it('is opened again with the connection for records', async () => {
    await tracked.put(aToken())
    const id = await redis.client('ID')
    await other.call('CLIENT', 'KILL', 'ID', id)
    await untilDead()
    await untilLive()
  })

  it.each([
    ['has been suspended for six seconds, which only its clock knows', 6],
    ['has its clock set back', -6],
  ])(
    'does not count while the machine %s, and counts again from the next sign of life on',
    async (_what, seconds) => {
      await untilLive()
      clock.advance(seconds)
      expect(tracking.isLive).toBe(false)
      await untilLive()
    },
  )

  it('is not opened while it would be to another server than the connection for records', async () => {
    tracking.close()
    redis.disconnect()
    const elsewhere = await startRedis()
    let connections = 0
    let isDivided = true
    const crossing = createServer((client) => {
      const { port } = isDivided && ++connections > 1 ? elsewhere : server
      const socket = connect(port, '127.0.0.1')
      client.pipe(socket).pipe(client)
      for (const each of [client, socket]) each.on('error', () => undefined)
    }).listen(0, '127.0.0.1')
    await once(crossing, 'listening')
    onTestFinished(async () => {
      crossing.close()
      await elsewhere.stop()
    })
    const { lines, log: recorded } = recordingLog()
    open(`redis://127.0.0.1:${(crossing.address() as AddressInfo).port}`, recorded)
    await vi.waitFor(
      () => expect(lines.at(-1)).toMatchObject({ reason: 'the connections are to different servers' }),
      { timeout: 5_000, interval: 5 },
    )
    expect(tracking.isLive).toBe(false)

    isDivided = false
    await untilLive()
  })
})

describe('a store with a client-side cache is a token store:', () => {
  tokenStoreContract(async (input) => {
    const redisOfContract = new Redis(server.url)
    const store = new CachingTokenStore({
      store: new RedisTokenStore({ redis: redisOfContract, ...input }),
      clock: input.clock,
      size: 100,
      isLive: () => link.isLive,
    })
    const link = new RedisInvalidations({
      redis: redisOfContract,
      clock: input.clock,
      log: silent,
      onChange: (keys) => store.onChange(keys),
    })
    await vi.waitFor(() => expect(link.isLive).toBe(true), { timeout: 5_000, interval: 5 })
    return {
      store,
      read: (key) => other.get(REDIS_PREFIX + key),
      write: async (key, value) => {
        await other.set(REDIS_PREFIX + key, value)
      },
      close: async () => {
        link.close()
        redisOfContract.disconnect()
      },
    }
  })
})
