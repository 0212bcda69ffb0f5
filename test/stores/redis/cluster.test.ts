import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { TokenData, TokenKey } from '../../../src/domain/token.ts'
import { Fernet, generateFernetKey } from '../../../src/lib/fernet.ts'
import { parseRedisUrl } from '../../../src/lib/redis-url.ts'
import { openRedisBroadcast } from '../../../src/stores/broadcast/redis-broadcast.ts'
import { openRedis } from '../../../src/stores/redis/client.ts'
import type { RedisClient } from '../../../src/stores/redis/commands.ts'
import { EncryptedRecords } from '../../../src/stores/token-store/encrypted-records.ts'
import { RedisTokenStore } from '../../../src/stores/token-store/redis-token-store.ts'
import { RedisWrites } from '../../../src/stores/token-store/redis-writes.ts'
import { recordingLog } from '../../support/checks/log.ts'
import { openPorthor } from '../../support/porthor/porthor.ts'
import { onServer, untilReplicated } from '../../support/stores/redis.ts'
import { type RedisCluster, startRedisCluster } from '../../support/stores/redis-cluster.ts'
import { tokenStoreContract } from '../../support/stores/token-store-contract.ts'
import { aSession, aToken, NOW } from '../../support/tokens/token-data.ts'
import { TestClock } from '../../support/waiting/test-clock.ts'

const { log } = recordingLog()
const clock = new TestClock(NOW)
const records = new EncryptedRecords({ fernet: new Fernet([generateFernetKey()]), clock, log })

/** Long enough on a busy machine; nothing is decided by it. */
const PATIENT = { timeout: 15_000, interval: 20 }

/** A third of all, rounded up. */
const SLOTS_OF_ONE = 5_462

let cluster: RedisCluster

beforeAll(async () => {
  cluster = await startRedisCluster()
})
afterAll(() => cluster.stop())

/** A client of Porthor's on the cluster, and its store. */
function open() {
  const redis = openRedis(parseRedisUrl(cluster.url), log)
  onTestFinished(() => redis.disconnect())
  return { redis, store: new RedisTokenStore({ redis, records, clock }) }
}

const flush = async () => {
  for (const { port } of cluster.nodes.slice(0, 3)) await onServer(port, (redis) => redis.flushall())
}

async function keysOf(store: RedisTokenStore): Promise<TokenKey[]> {
  const keys: TokenKey[] = []
  for await (const batch of store.scan()) keys.push(...batch)
  return keys.sort()
}

describe('the Redis token store in a cluster', () => {
  tokenStoreContract(async (input) => {
    await flush()
    const redis = openRedis(parseRedisUrl(cluster.url), log)
    return {
      store: new RedisTokenStore({ redis, ...input }),
      read: (key) => redis.get(`token:${key}`),
      write: async (key, value) => {
        await redis.set(`token:${key}`, value)
      },
      close: async () => redis.disconnect(),
    }
  })

  it('finds what every master has, also as the first thing that it is asked', async () => {
    await flush()
    const names = Array.from({ length: 60 }, (_, index) => aToken(`token-${index}-`))
    const { store } = open()
    await Promise.all(names.map((token) => store.put(aSession({ token }))))
    const sizes = await Promise.all(
      cluster.nodes.slice(0, 3).map(({ port }) => onServer(port, (redis) => redis.dbsize())),
    )
    expect(sizes.every((size) => size > 0)).toBe(true)

    expect(await keysOf(open().store)).toEqual(names.map(({ key }) => key).sort())
  })

  it('follows a slot that moves to another master, and while it does', async () => {
    await flush()
    const { redis, store } = open()
    const data = await aSessionOn(redis, 1)
    await store.put(data)
    const slot = await slotOf(redis, data)
    const [, from, to] = cluster.nodes
    if (!from || !to) throw new Error('three masters')
    await beginMove(slot, from.port, to.port)
    await onServer(from.port, (node) =>
      node.migrate('127.0.0.1', to.port, `token:${data.token.key}`, 0, 5_000),
    )
    // Now the old master has one ask the new one.
    expect(await store.find(data.token.key)).toEqual(data)

    await endMove(slot, to.port)
    onTestFinished(async () => {
      await beginMove(slot, to.port, from.port)
      await endMove(slot, from.port)
    })
    expect(await store.find(data.token.key)).toEqual(data)
    await store.delete([data.token.key])
    expect(await keysOf(open().store)).toEqual([])
  })
})

it('a change of a record in a cluster is acknowledged only once as many replicas of its master have it as are asked for', async () => {
  await flush()
  const { redis, store } = open()
  const writes = new RedisWrites(open().redis, 1)
  const waiting = new RedisTokenStore({ redis, writes, records, clock })
  // The first master has a replica, and the second none.
  const [safe, alone] = [await aSessionOn(redis, 0), await aSessionOn(redis, 1)]
  await vi.waitFor(() => waiting.put(safe), PATIENT)
  await expect(waiting.put(alone)).rejects.toMatchObject({ code: 'UNAVAILABLE', store: 'redis' })
  const entry = await store.findRecord(safe.token.key)
  if (!entry) throw new Error('a record was put')
  await waiting.replace(entry, { ...safe, scopes: [] })
  await expect(waiting.delete([safe.token.key, alone.token.key])).rejects.toMatchObject({
    code: 'UNAVAILABLE',
  })
  // It is done, and may be lost.
  expect(await keysOf(store)).toEqual([])
  await waiting.delete([safe.token.key])

  const [, , , replica] = cluster.nodes
  replica?.pause()
  onTestFinished(() => replica?.resume())
  await expect(waiting.put(safe)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  replica?.resume()
  await vi.waitFor(() => waiting.put(safe), PATIENT)
})

const idOf = (port: number) => onServer(port, async (node) => String(await node.call('CLUSTER', 'MYID')))

async function beginMove(slot: number, from: number, to: number): Promise<void> {
  const [source, target] = [await idOf(from), await idOf(to)]
  await onServer(to, (node) => node.cluster('SETSLOT', slot, 'IMPORTING', source))
  await onServer(from, (node) => node.cluster('SETSLOT', slot, 'MIGRATING', target))
}

/** Sends to all masters, the new one first. */
async function endMove(slot: number, to: number): Promise<void> {
  const target = await idOf(to)
  const others = cluster.nodes.slice(0, 3).map(({ port }) => port)
  for (const port of [to, ...others])
    await onServer(port, (node) => node.cluster('SETSLOT', slot, 'NODE', target))
}

const slotOf = async (redis: RedisClient, { token }: TokenData) =>
  Number(await redis.call('CLUSTER', 'KEYSLOT', `token:${token.key}`))

/** A session whose record belongs to the master of that index, as the cluster was made. */
async function aSessionOn(redis: RedisClient, master: number, name = 'token'): Promise<TokenData> {
  for (let index = 0; ; index++) {
    const data = aSession({ token: aToken(`${name}-${index}-`), expiresAt: null })
    if (Math.floor((await slotOf(redis, data)) / SLOTS_OF_ONE) === master) return data
  }
}

describe('a broadcast in a cluster', () => {
  /** Joins as another process would. */
  function join() {
    const { redis } = open()
    const onMessage = vi.fn()
    const broadcast = openRedisBroadcast(redis, { channel: 'porthor_test', onMessage, log })
    onTestFinished(() => broadcast.close())
    return { broadcast, onMessage }
  }

  /** Those who listen, by the name of the server's connection to them. */
  const listeners = async (): Promise<string[]> => {
    const lists = cluster.nodes.map(({ port }) =>
      onServer(port, (node) => node.call('CLIENT', 'LIST', 'TYPE', 'pubsub')),
    )
    return (await Promise.all(lists)).flatMap((list) => [...String(list).matchAll(/\baddr=\S+/g)].map(String))
  }
  const untilListening = (count: number) =>
    vi.waitFor(async () => expect(await listeners()).toHaveLength(count), PATIENT)

  it('reaches every process once, wherever it listens, and no longer one that is closed', async () => {
    const all = [join(), join(), join(), join()]
    const [first, , , last] = all
    await untilListening(4)
    await first?.broadcast.send()
    for (const { onMessage } of all)
      await vi.waitFor(() => expect(onMessage).toHaveBeenCalledTimes(1), PATIENT)

    await first?.broadcast.close()
    await untilListening(3)
    await last?.broadcast.send()
    for (const { onMessage } of all.slice(1))
      await vi.waitFor(() => expect(onMessage).toHaveBeenCalledTimes(2), PATIENT)
    expect(first?.onMessage).toHaveBeenCalledTimes(1)
  })

  it('is received again after the connection was lost', async () => {
    const { broadcast, onMessage } = join()
    await untilListening(1)
    const [lost] = await listeners()
    for (const { port } of cluster.nodes)
      await onServer(port, (node) => node.call('CLIENT', 'KILL', 'TYPE', 'pubsub'))
    await vi.waitFor(async () => {
      const found = await listeners()
      expect(found).toHaveLength(1)
      expect(found).not.toContain(lost)
    }, PATIENT)
    await broadcast.send()

    await vi.waitFor(() => expect(onMessage).toHaveBeenCalledTimes(1), PATIENT)
  })
})

describe('two Porthors on a cluster', () => {
  const DELEGATE = 'mutation { internalToken(service: "tap", scopes: ["read:all"]) { key source } }'

  it('delegate, revoke and clear their caches together, and log that the client-side cache is off', async () => {
    await flush()
    const h = await openPorthor({
      store: 'redis',
      env: { REDIS_URL: cluster.url, CLIENT_SIDE_CACHE: 'true' },
    })
    onTestFinished(() => h.close())
    const other = await openPorthor({ env: h.env, clock: h.clock, isOnGivenStores: true })
    onTestFinished(() => other.close())
    const token = await h.session()
    const delegate = async (ask: typeof other.ask) => (await ask(DELEGATE, { token })).data?.internalToken

    const key = ((await delegate(h.ask)) as { key: string }).key
    expect(await delegate(h.ask)).toEqual({ key, source: 'CACHE' })
    expect(await delegate(other.ask)).toEqual({ key, source: 'DATABASE' })
    expect(await delegate(other.ask)).toEqual({ key, source: 'CACHE' })

    // Until both listen, a message reaches one only.
    await vi.waitFor(async () => {
      await h.ask('mutation { clearTokenCache { internal } }', { token: h.bootstrapToken })
      expect(await delegate(other.ask)).toEqual({ key, source: 'DATABASE' })
    }, PATIENT)

    const own = token.slice(3, 25)
    const revoke = `mutation { revokeToken(key: "${own}") { keys } }`
    const { data } = await other.ask(revoke, { token })
    expect(data).toEqual({ revokeToken: { keys: [key, own] } })
    expect((await h.ask(DELEGATE, { token })).code).toBe('UNAUTHENTICATED')
    expect(h.logLines.filter(({ msg }) => msg.startsWith('client-side cache is off'))).toHaveLength(1)
  })
})

describe('a cluster is out of reach', () => {
  const UNAVAILABLE = {
    status: 'rejected',
    reason: expect.objectContaining({ code: 'UNAVAILABLE', store: 'redis' }),
  }

  const askAll = (store: RedisTokenStore, data = aSession()) => {
    const { key } = data.token
    return Promise.allSettled([
      store.find(key),
      store.put(data),
      store.delete([key]),
      store.inspect([key]),
      keysOf(store),
      store.ping(),
    ])
  }
  const untilAllGood = (store: RedisTokenStore) =>
    vi.waitFor(
      async () => expect((await askAll(store)).map(({ status }) => status)).not.toContain('rejected'),
      PATIENT,
    )

  it('while a slot has no master, and what failed then is not done later', async () => {
    const { redis, store } = open()
    await untilAllGood(store)
    const givenUp = await aSessionOn(redis, 0, 'given-up')
    // Again, where a node has learnt of the slot again from one that had not yet given it up.
    await vi.waitFor(async () => {
      for (const { port } of cluster.nodes) {
        await onServer(port, async (node) => {
          await node.cluster('DELSLOTS', 7_000).catch(() => undefined)
          expect(await node.cluster('INFO')).toContain('cluster_state:fail')
        })
      }
    }, PATIENT)
    const asked = [keysOf(store), store.ping(), store.put(givenUp)]
    expect(await Promise.allSettled(asked)).toEqual([UNAVAILABLE, UNAVAILABLE, UNAVAILABLE])

    const waiting = store.find(givenUp.token.key)
    const owner = cluster.nodes[1]
    if (owner) await onServer(owner.port, (node) => node.cluster('ADDSLOTS', 7_000))
    await waiting.catch(() => undefined)
    await untilAllGood(store)
    expect(await store.find(givenUp.token.key)).toBe(undefined)
  })

  it('when it is killed, or was never there, until it is there again', async () => {
    const known = open()
    await untilAllGood(known.store)
    await Promise.all(cluster.nodes.map((node) => node.kill()))
    const late = open()
    const givenUp = aSession({ token: aToken('given-up') })
    const put = Promise.allSettled([known.store.put(givenUp)])
    expect(await Promise.all([askAll(known.store), askAll(late.store), put])).toEqual([
      Array(6).fill(UNAVAILABLE),
      Array(6).fill(UNAVAILABLE),
      [UNAVAILABLE],
    ])

    await cluster.revive()
    for (const { store } of [known, late]) await untilAllGood(store)
    expect(await known.store.find(givenUp.token.key)).toBe(undefined)
  })

  it('for the records of a master that fell silent, until its replica takes its place', async () => {
    await cluster.untilWhole()
    const { redis, store } = open()
    await untilAllGood(store)
    const data = await aSessionOn(redis, 0)
    await store.put(data)
    const givenUp = await aSessionOn(redis, 0, 'given-up')
    const [master, , , replica] = cluster.nodes
    if (!master || !replica) throw new Error('four nodes')
    await untilReplicated(master, replica)
    master.pause()
    const asked = [store.find(data.token.key), store.put(givenUp), store.ping()]
    expect(await Promise.allSettled(asked)).toEqual([UNAVAILABLE, UNAVAILABLE, UNAVAILABLE])

    await vi.waitFor(async () => expect(await store.find(data.token.key)).toEqual(data), PATIENT)
    await untilAllGood(store)
    const keys = await keysOf(store)
    expect(keys).toContain(data.token.key)
    expect(keys).not.toContain(givenUp.token.key)
  })
})
