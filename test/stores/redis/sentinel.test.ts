import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { describe, expect, it, type TestContext, vi } from 'vitest'
import { Fernet, generateFernetKey } from '../../../src/lib/fernet.ts'
import { parseRedisUrl } from '../../../src/lib/redis-url.ts'
import { openRedisBroadcast } from '../../../src/stores/broadcast/redis-broadcast.ts'
import { openRedis } from '../../../src/stores/redis/client.ts'
import { EncryptedRecords } from '../../../src/stores/token-store/encrypted-records.ts'
import { RedisTokenStore } from '../../../src/stores/token-store/redis-token-store.ts'
import { recordingLog } from '../../support/checks/log.ts'
import { openPorthor, type Porthor } from '../../support/porthor/porthor.ts'
import { onServer, untilReplicated } from '../../support/stores/redis.ts'
import { startWatchedRedis, type WatchedRedis } from '../../support/stores/redis-sentinel.ts'
import { aSession, NOW } from '../../support/tokens/token-data.ts'
import { TestClock } from '../../support/waiting/test-clock.ts'

const { log } = recordingLog()
const clock = new TestClock(NOW)
const records = new EncryptedRecords({ fernet: new Fernet([generateFernetKey()]), clock, log })
const outOfReach = expect.objectContaining({ code: 'UNAVAILABLE', store: 'redis' })
const data = aSession({ expiresAt: null })

/** Long enough on a busy machine; nothing is decided by it. */
const PATIENT = { timeout: 30_000, interval: 20 }

/** Registers what undoes a step of a test; the test's own, since they run side by side. */
type OnTestFinished = TestContext['onTestFinished']

async function start(onTestFinished: OnTestFinished): Promise<WatchedRedis> {
  const watched = await startWatchedRedis()
  onTestFinished(() => watched.stop())
  return watched
}

function open(url: string, onTestFinished: OnTestFinished) {
  const redis = openRedis(parseRedisUrl(url), log)
  onTestFinished(() => redis.disconnect())
  return { redis, store: new RedisTokenStore({ redis, records, clock }) }
}

describe.concurrent('Redis behind Sentinel', () => {
  it('is the master, entered with credentials of its own, as is Sentinel', async ({
    expect,
    onTestFinished,
  }) => {
    const { url, master, sentinel } = await start(onTestFinished)
    const user = ['porthor', 'on', '>for redis', '~*', '&*', '+@all'] as const
    await onServer(master.port, (redis) => redis.acl('SETUSER', ...user))
    await onServer(sentinel.port, (redis) => redis.acl('SETUSER', 'default', 'resetpass', '>for sentinel'))
    const ours = `${url.replace('//', '//porthor:for%20redis@')}/3?sentinelPassword`

    const { redis } = open(`${ours}=for%20sentinel`, onTestFinished)
    expect(await redis.client('INFO')).toMatch(/ db=3 .* user=porthor /)
    expect(await redis.info('replication')).toContain('role:master')
    await expect(open(`${ours}=wrong`, onTestFinished).store.ping()).rejects.toEqual(outOfReach)
  })

  it('is found by another Sentinel where one does not respond', async ({ expect, onTestFinished }) => {
    const { url } = await start(onTestFinished)
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    onTestFinished(() => void silent.close())
    const { port } = silent.address() as AddressInfo
    const { store } = open(url.replace('//', `//127.0.0.1:${port},`), onTestFinished)

    await expect(store.ping()).resolves.toBe(undefined)
  })

  it('is unavailable while Sentinel does not respond, and available afterwards', async ({
    expect,
    onTestFinished,
  }) => {
    const { url, sentinel } = await start(onTestFinished)
    sentinel.pause()
    const { store } = open(url, onTestFinished)
    const asked = [store.find(data.token.key), store.put(data), store.ping()]
    const reason = { status: 'rejected', reason: outOfReach }
    expect(await Promise.allSettled(asked)).toEqual([reason, reason, reason])

    sentinel.resume()
    await vi.waitFor(() => store.ping(), PATIENT)
  })

  it('is unavailable when the master stops responding, until its replica is promoted', async ({
    expect,
    onTestFinished,
  }) => {
    const watched = await start(onTestFinished)
    const { redis, store } = open(watched.url, onTestFinished)
    const onMessage = vi.fn()
    const broadcast = openRedisBroadcast(redis, { channel: 'porthor_test', onMessage, log })
    onTestFinished(() => broadcast.close())
    await store.put(data)
    await untilReplicated(watched.master, watched.replica)
    watched.master.pause()
    // Its replica may be followed before the request's time is over.
    expect([outOfReach, data]).toContainEqual(
      await store.find(data.token.key).catch((error: unknown) => error),
    )

    await vi.waitFor(async () => expect(await store.find(data.token.key)).toEqual(data), PATIENT)
    await vi.waitFor(async () => {
      await broadcast.send()
      expect(onMessage).toHaveBeenCalled()
    }, PATIENT)
  })

  it('is followed to its new master by every Porthor, with its client-side cache', async ({
    expect,
    onTestFinished,
  }) => {
    const watched = await start(onTestFinished)
    const h = await openPorthor({
      store: 'redis',
      env: { REDIS_URL: watched.url, CLIENT_SIDE_CACHE: 'true' },
    })
    onTestFinished(() => h.close())
    const other = await openPorthor({ env: h.env, clock: h.clock, isOnGivenStores: true })
    onTestFinished(() => other.close())
    const token = await h.session()
    const delegateBy = ({ ask }: Pick<Porthor, 'ask'>) =>
      ask('mutation { internalToken(service: "tap") { key source } }', { token })
    const delegate = () => delegateBy(h)
    const { data: first } = await delegate()
    await untilTracking(h, 1)
    await delegate()
    await untilReplicated(watched.master, watched.replica)

    await vote(watched, 2)
    await watched.master.kill()
    expect((await delegate()).code).toBe('UNAVAILABLE')
    await vote(watched, 1)
    await vi.waitFor(async () => {
      const { data: after } = await delegate()
      expect(after).toMatchObject({ internalToken: { key: keyOf(first), source: 'CACHE' } })
    }, PATIENT)

    await untilTracking(h, 2)
    await delegate()
    expect(await questions(watched, delegate)).toBe(0)
    const fromOther = async (source: string) =>
      expect((await delegateBy(other)).data).toMatchObject({ internalToken: { source } })
    await vi.waitFor(() => fromOther('CACHE'), PATIENT)
    await vi.waitFor(async () => {
      await h.ask('mutation { clearTokenCache { internal } }', { token: h.bootstrapToken })
      await fromOther('DATABASE')
    }, PATIENT)

    const own = token.slice(3, 25)
    const { errors } = await other.ask(`mutation { revokeToken(key: "${own}") { keys } }`, {
      token: h.bootstrapToken,
    })
    expect(errors).toEqual([])
    await vi.waitFor(async () => expect((await delegate()).code).toBe('UNAUTHENTICATED'), PATIENT)
  })
})

const keyOf = (answer: Record<string, unknown> | null | undefined): unknown =>
  (answer?.internalToken as { key?: unknown } | undefined)?.key

/** How many Sentinels must agree that a master is down. There is one. */
const vote = ({ sentinel }: WatchedRedis, quorum: number) =>
  onServer(sentinel.port, (redis) => redis.call('SENTINEL', 'SET', 'tokens', 'quorum', String(quorum)))

const untilTracking = (h: Porthor, count: number) =>
  vi.waitFor(
    () =>
      expect(h.logLines.filter(({ msg }) => msg === 'client-side cache is on').length).toBeGreaterThanOrEqual(
        count,
      ),
    PATIENT,
  )

/** How many records the replica, master by now, is asked for while `work` is done. */
const questions = ({ replica }: WatchedRedis, work: () => Promise<unknown>): Promise<number> =>
  onServer(replica.port, async (redis) => {
    await redis.config('RESETSTAT')
    await work()
    return Number(/^cmdstat_get:calls=(\d+)/m.exec(await redis.info('commandstats'))?.[1] ?? 0)
  })
