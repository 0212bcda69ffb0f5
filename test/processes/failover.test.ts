import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { type Clock, systemClock } from '../../src/lib/clock.ts'
import { openPorthor, type Porthor } from '../support/porthor/porthor.ts'
import { serverSecrets } from '../support/processes/server-process.ts'
import { onServer, type RedisProcess } from '../support/stores/redis.ts'
import { startRedisCluster } from '../support/stores/redis-cluster.ts'
import { startWatchedRedis } from '../support/stores/redis-sentinel.ts'
import { freshDatabase } from '../support/stores/stores.ts'
import type { TcpProxy } from '../support/stores/tcp-proxy.ts'

// A failover takes seconds, on a busy machine many.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 })

/** Long enough on a busy machine, on which a Sentinel pauses for half a minute; nothing is decided by it. */
const PATIENT = { timeout: 60_000, interval: 20 }

/** The same for requests that are sent again and again, so that the servers have their turn too. */
const REPEATED = { timeout: 150_000, interval: 5 }

const SCOPES = '["admin:token", "read:tap"]'
const SESSION = `mutation { made: createSessionToken(input: { username: "wren", scopes: ${SCOPES} }) { token } }`
const USER_TOKEN = `mutation ($name: String!) {
  made: createUserToken(input: { username: "wren", tokenName: $name, scopes: ${SCOPES} }) { token } }`
const NARROW = 'mutation ($key: ID!) { modifyToken(key: $key, input: { scopes: ["read:tap"] }) { key } }'
const REVOKE = 'mutation ($key: ID!) { revokeToken(key: $key) { keys } }'
/** Both are answered by the record of the current token alone: its row would show a revocation and an edit anyway. */
const VIEWER = '{ viewer { user { username } } }'
const AS_ADMIN = '{ tokens(username: "robin") { edges { cursor } } }'

/** A master with a replica that can take its place. */
interface Pair {
  readonly url: string
  readonly master: RedisProcess
  readonly replica: RedisProcess
  /** The ways that lead to servers. */
  readonly ways: readonly TcpProxy[]
  /** Kills the master, upon which the replica takes over. */
  readonly lose: () => Promise<unknown>
  /** Has the replica take over while the master is well. */
  readonly switchOver: () => Promise<unknown>
}

async function startSentinel(): Promise<Pair> {
  const { url, master, replica, sentinel, way, stop } = await startWatchedRedis({ hasWay: true })
  onTestFinished(stop)
  const tell = (...words: readonly string[]) =>
    onServer(sentinel.port, (own) => own.call('SENTINEL', ...words))
  // On a busy machine every server is silent now and then: one Sentinel of two that must agree does nothing then.
  await tell('SET', 'tokens', 'quorum', '2')
  const lose = async () => {
    await tell('SET', 'tokens', 'quorum', '1')
    await master.kill()
  }
  return { url, master, replica, ways: way ? [way] : [], lose, switchOver: () => tell('FAILOVER', 'tokens') }
}

async function startCluster(): Promise<Pair> {
  const { url, nodes, ways, stop } = await startRedisCluster({ nodeTimeoutMs: 2_000, hasWays: true })
  onTestFinished(stop)
  const [master, , , replica] = nodes
  if (!master || !replica) throw new Error('four nodes')
  // Without the master's consent, which waits for a replica that has it all.
  const switchOver = () => onServer(replica.port, (own) => own.call('CLUSTER', 'FAILOVER', 'TAKEOVER'))
  return { url, master, replica, ways, lose: () => master.kill(), switchOver }
}

/** Two Porthors. */
async function openPair(redisUrl: string) {
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const secrets = serverSecrets()
  const env = { ...secrets, DATABASE_URL: database.url, REDIS_URL: redisUrl }
  const open = async (isTracked: boolean) => {
    const porthor = await openPorthor({
      env: { ...env, CLIENT_SIDE_CACHE: String(isTracked) },
      clock: systemClock,
      isOnGivenStores: true,
    })
    onTestFinished(() => porthor.close())
    return porthor
  }
  const both = [await open(true), await open(false)] as const
  /** Again where the machine was too busy for an answer in time. */
  const asAdmin = async (porthor: Porthor<Clock>, query: string, variables: Record<string, unknown>) => {
    for (;;) {
      const answer = await porthor.ask(query, { token: secrets.BOOTSTRAP_TOKEN, variables })
      if (answer.code !== 'UNAVAILABLE') return answer
    }
  }
  let names = 0
  /** A token whose record is on that server: as soon as `porthor` has arrived there. */
  const makeOn = (server: RedisProcess, query: string, porthor = both[0]): Promise<string> =>
    vi.waitUntil(async () => {
      names += 1
      const { data } = await asAdmin(porthor, query, { name: `token ${names}` })
      const { token } = (data as { made: { token: string } }).made
      return (await has(server, token)) && token
    }, REPEATED)
  const change = async (porthor: Porthor<Clock>, query: string, token: string): Promise<void> => {
    const { code } = await asAdmin(porthor, query, { key: parseToken(token).key })
    expect([undefined, 'NOT_FOUND']).toContain(code)
  }
  return { both, makeOn, change }
}

/** What both answer to `token`, asked again and again until `work` is done, and lastly. */
async function answersDuring(
  porthors: readonly Porthor<Clock>[],
  { query = VIEWER, token }: { readonly query?: string; readonly token: string },
  work: Promise<unknown>,
): Promise<readonly string[]> {
  const answers = new Set<string>()
  let isOver = false
  const over = work.finally(() => {
    isOver = true
  })
  const loops = porthors.map(async (porthor) => {
    await vi.waitUntil(async () => {
      const wasOver = isOver
      const { code, errors } = await porthor.ask(query, { token })
      answers.add(errors.length === 0 ? 'accepted' : String(code))
      return wasOver
    }, REPEATED)
  })
  await Promise.all([over, ...loops])
  answers.delete('UNAVAILABLE')
  return [...answers]
}

const untilAccepted = (porthors: readonly Porthor<Clock>[], token: string) =>
  vi.waitFor(async () => {
    for (const porthor of porthors) expect((await porthor.ask(VIEWER, { token })).errors).toEqual([])
  }, PATIENT)

const untilMaster = ({ replica }: Pair) =>
  vi.waitFor(async () => {
    expect(await onServer(replica.port, (own) => own.info('replication'))).toContain('role:master')
  }, PATIENT)

const has = async ({ port }: RedisProcess, token: string): Promise<boolean> =>
  (await onServer(port, (own) => own.keys('token:*'))).includes(`token:${parseToken(token).key}`)

describe.each([
  ['Sentinel', startSentinel],
  ['a Cluster', startCluster],
])('with %s', (_mode, start) => {
  it.each([
    ['whose master is killed', ({ lose }: Pair) => lose()],
    ['whose replica takes over on request', ({ switchOver }: Pair) => switchOver()],
  ])('%s, what the new master has missed is applied to it before it is used', async (_how, fail) => {
    const pair = await start()
    const { master, replica } = pair
    const { both, makeOn, change } = await openPair(pair.url)
    const [kept, revoked] = [await makeOn(master, SESSION), await makeOn(master, SESSION)]
    const narrowed = await makeOn(master, USER_TOKEN)
    await vi.waitFor(async () => expect(await has(replica, narrowed)).toBe(true), PATIENT)
    for (const way of pair.ways) way.forget('PSYNC')
    await change(both[0], REVOKE, revoked)
    await change(both[1], NARROW, narrowed)
    expect(await has(replica, revoked)).toBe(true)

    const over = async () => {
      await fail(pair)
      await untilMaster(pair)
      for (const porthor of both) await makeOn(replica, SESSION, porthor)
      await untilAccepted(both, kept)
    }
    const failedOver = over()
    const [ofKept, ofRevoked, ofNarrowed] = await Promise.all([
      answersDuring(both, { token: kept }, failedOver),
      answersDuring(both, { token: revoked }, failedOver),
      answersDuring(both, { query: AS_ADMIN, token: narrowed }, failedOver),
    ])
    expect({ kept: ofKept, revoked: ofRevoked, narrowed: ofNarrowed }).toEqual({
      kept: ['accepted'],
      revoked: ['UNAUTHENTICATED'],
      narrowed: ['PERMISSION_DENIED'],
    })
    expect(await has(replica, revoked)).toBe(false)
  })

  it.each([
    ['lose their connections without a close', (way: TcpProxy) => way.forget('porthor')],
    ['are cut off by a network that swallows everything', (way: TcpProxy) => way.swallow()],
  ])(
    'where two Porthors %s, they serve requests again without a restart, and until then requests are UNAVAILABLE',
    async (_how, lose) => {
      const pair = await start()
      const { both, makeOn } = await openPair(pair.url)
      const token = await makeOn(pair.master, SESSION)
      await untilAccepted(both, token)
      for (const way of pair.ways) lose(way)
      const again = async () => {
        for (const { code } of await Promise.all(both.map((porthor) => porthor.ask(VIEWER, { token }))))
          expect([undefined, 'UNAVAILABLE']).toContain(code)
        for (const way of pair.ways) await way.pass()
        await untilAccepted(both, token)
      }
      expect(await answersDuring(both, { token }, again())).toEqual(['accepted'])
    },
  )
})
