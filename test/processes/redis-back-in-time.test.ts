import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import pg from 'pg'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { type Clock, systemClock } from '../../src/lib/clock.ts'
import { type LogLine, openPorthor, type Porthor } from '../support/porthor/porthor.ts'
import { serverSecrets } from '../support/processes/server-process.ts'
import { askUntilAvailable } from '../support/requests/graphql.ts'
import { onServer, type RedisProcess, startRedis, untilReplicated } from '../support/stores/redis.ts'
import { freshDatabase } from '../support/stores/stores.ts'
import { openTcpProxy } from '../support/stores/tcp-proxy.ts'

/** Long enough on a busy machine; nothing is decided by it. */
const PATIENT = { timeout: 20_000, interval: 20 }

const SESSION =
  'mutation { made: createSessionToken(input: { username: "wren", scopes: ["read:all", "read:tap"] }) { token } }'
const USER_TOKEN = `mutation {
  made: createUserToken(input: { username: "wren", tokenName: "desk", scopes: ["admin:token", "read:tap"] }) { token }
}`
const NARROW = 'mutation ($key: ID!) { modifyToken(key: $key, input: { scopes: ["read:tap"] }) { key } }'
const REVOKE = 'mutation ($key: ID!) { revokeToken(key: $key) { keys } }'
/** Both are answered by the record of the current token alone: its row would show a revocation and an edit anyway. */
const VIEWER = '{ viewer { user { username } } }'
const AS_ADMIN = '{ tokens(username: "robin") { edges { cursor } } }'

const isReplay = ({ msg }: LogLine): boolean => msg === 'applied recent history to Redis'

/** Two Porthors on the same stores, each with its own way to Redis. */
async function openPair(redisUrl: string) {
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const cables = [await openTcpProxy(redisUrl), await openTcpProxy(redisUrl)] as const
  const secrets = serverSecrets()
  const porthors: Porthor<Clock>[] = []
  for (const [index, cable] of cables.entries()) {
    const env = { ...secrets, DATABASE_URL: database.url, REDIS_URL: cable.through(redisUrl) }
    porthors.push(
      await openPorthor({
        env: { ...env, CLIENT_SIDE_CACHE: String(index === 0) },
        clock: systemClock,
        isOnGivenStores: true,
      }),
    )
  }
  const running = new Set(porthors)
  const end = async (porthor: Porthor<Clock>) => {
    if (running.delete(porthor)) await porthor.close()
  }
  onTestFinished(async () => {
    for (const porthor of porthors) await end(porthor)
    for (const cable of cables) await cable.close()
  })
  const asAdmin = async <T>(porthor: Porthor<Clock>, query: string, variables = {}): Promise<T> => {
    const { data, errors } = await porthor.ask(query, { token: secrets.BOOTSTRAP_TOKEN, variables })
    expect(errors).toEqual([])
    return data as T
  }
  const [one, two] = porthors as [Porthor<Clock>, Porthor<Clock>]
  const create = async (query: string) => {
    const { data, errors } = await askUntilAvailable(() => one.ask(query, { token: secrets.BOOTSTRAP_TOKEN }))
    expect(errors).toEqual([])
    return (data as { made: { token: string } }).made.token
  }
  const change = (porthor: Porthor<Clock>, query: string, token: string) =>
    asAdmin(porthor, query, { key: parseToken(token).key })
  const attempt = async (porthor: Porthor<Clock>, query: string, token: string) => {
    const variables = { key: parseToken(token).key }
    return (await porthor.ask(query, { token: secrets.BOOTSTRAP_TOKEN, variables })).code
  }
  return { one, two, cables, create, change, attempt, end, database }
}

/** Asks both for all of it, again and again, until `stop`, which resolves with the codes by question. */
function ask(
  porthors: readonly Porthor<Clock>[],
  questions: Record<string, readonly [query: string, token: string]>,
) {
  const codes = new Map(Object.keys(questions).map((name) => [name, new Set<unknown>()]))
  let isStopped = false
  const loops = porthors.flatMap((porthor) =>
    Object.entries(questions).map(async ([name, [query, token]]) => {
      while (!isStopped) {
        const { code, errors } = await porthor.ask(query, { token })
        codes.get(name)?.add(errors.length === 0 ? 'accepted' : code)
      }
    }),
  )
  return {
    codes,
    stop: async () => {
      isStopped = true
      await Promise.all(loops)
    },
  }
}

/** Names of the questions that were accepted. */
const acceptedIn = (codes: ReadonlyMap<string, ReadonlySet<unknown>>): readonly string[] =>
  [...codes].filter(([, each]) => each.has('accepted')).map(([name]) => name)

const untilAccepted = (porthors: readonly Porthor<Clock>[], token: string) =>
  vi.waitFor(async () => {
    for (const porthor of porthors) expect((await porthor.ask(VIEWER, { token })).errors).toEqual([])
  }, PATIENT)

describe('a Redis that has gone back in time', { timeout: 90_000 }, () => {
  it('by a restart with old data accepts no revoked token and gives none back what was taken, in any process, at any moment', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'porthor-rdb-'))
    onTestFinished(() => rm(dir, { recursive: true, force: true }))
    let redis: RedisProcess = await startRedis({ dir })
    onTestFinished(() => redis.stop())
    const { one, two, create, change, database } = await openPair(redis.url)
    const both = [one, two]
    const [kept, revoked, narrowed] = [await create(SESSION), await create(SESSION), await create(USER_TOKEN)]
    await untilAccepted(both, kept)
    const control = new Redis(redis.url)
    control.on('error', () => undefined)
    onTestFinished(() => control.disconnect())
    await control.save()
    await change(one, REVOKE, revoked)
    await change(two, NARROW, narrowed)
    const lost = await create(SESSION)
    const asked = ask(both, {
      kept: [VIEWER, kept],
      revoked: [VIEWER, revoked],
      narrowed: [AS_ADMIN, narrowed],
    })

    await redis.kill()
    redis = await startRedis({ port: redis.port, dir })
    await untilAccepted(both, kept)
    await asked.stop()

    expect(asked.codes.get('kept')).not.toContain('UNAUTHENTICATED')
    expect(acceptedIn(asked.codes)).toEqual(['kept'])
    for (const porthor of both) {
      expect((await porthor.ask(VIEWER, { token: revoked })).code).toBe('UNAUTHENTICATED')
      expect((await porthor.ask(VIEWER, { token: lost })).code).toBe('UNAUTHENTICATED')
      expect((await porthor.ask(AS_ADMIN, { token: narrowed })).code).toBe('PERMISSION_DENIED')
    }
    const client = new pg.Client(database.url)
    await client.connect()
    const { rows } = await client.query('SELECT FROM porthor_redis_run')
    await client.end()
    expect(rows).toHaveLength(2)
  })

  it('by the promotion of a replica that lagged has what was revoked and narrowed before, and what a process that stayed with the old master revoked later', async () => {
    const master = await startRedis()
    const link = await openTcpProxy(master.url)
    const replica = await startRedis({
      args: ['--replicaof', '127.0.0.1', String(link.port), '--repl-diskless-sync-delay', '0'],
    })
    onTestFinished(async () => {
      await Promise.all([replica.stop(), master.stop(), link.close()])
    })
    const { one, two, cables, create, change, attempt } = await openPair(master.url)
    const [kept, revoked, late] = [await create(SESSION), await create(SESSION), await create(SESSION)]
    const narrowed = await create(USER_TOKEN)
    await untilReplicated(master, replica)
    link.stall()
    await change(one, REVOKE, revoked)
    await change(two, NARROW, narrowed)
    const control = new Redis(replica.url)
    onTestFinished(() => control.disconnect())
    expect(await control.exists(`token:${parseToken(revoked).key}`)).toBe(1)
    await control.call('REPLICAOF', 'NO', 'ONE')

    cables[0].lead(replica.url)
    cables[0].cut()
    const asked = ask([one], { revoked: [VIEWER, revoked], narrowed: [AS_ADMIN, narrowed] })
    await untilAccepted([one], kept)
    // Not completed on the old master, which has been replaced: another process may complete it.
    expect([undefined, 'UNAVAILABLE']).toContain(await attempt(two, REVOKE, late))
    cables[1].lead(replica.url)
    cables[1].cut()
    await untilAccepted([two], kept)
    await asked.stop()

    expect(acceptedIn(asked.codes)).toEqual([])
    for (const porthor of [one, two]) {
      expect((await porthor.ask(VIEWER, { token: revoked })).code).toBe('UNAUTHENTICATED')
      await vi.waitFor(async () => {
        await porthor.context.services.pendingChanges.completeAll(0)
        expect((await porthor.ask(VIEWER, { token: late })).code).toBe('UNAUTHENTICATED')
      }, PATIENT)
    }
  })

  it('has what was revoked and narrowed on the old master after its replacement, by a process that did not outlive that', async () => {
    const master = await startRedis()
    const link = await openTcpProxy(master.url)
    const replica = await startRedis({
      args: ['--replicaof', '127.0.0.1', String(link.port), '--repl-diskless-sync-delay', '0'],
    })
    onTestFinished(async () => {
      await Promise.all([replica.stop(), master.stop(), link.close()])
    })
    const { one, two, cables, create, attempt, end } = await openPair(master.url)
    const [kept, revoked, narrowed] = [await create(SESSION), await create(SESSION), await create(USER_TOKEN)]
    await untilReplicated(master, replica)
    link.stall()
    await onServer(replica.port, (control) => control.call('REPLICAOF', 'NO', 'ONE'))
    cables[1].lead(replica.url)
    cables[1].cut()
    await vi.waitFor(() => expect(two.logLines.filter(isReplay)).toHaveLength(1), PATIENT)
    await untilAccepted([two], kept)

    const outcomes = [await attempt(one, REVOKE, revoked), await attempt(one, NARROW, narrowed)]
    await end(one)

    for (const code of outcomes) expect([undefined, 'UNAVAILABLE']).toContain(code)
    await vi.waitFor(async () => {
      await two.context.services.pendingChanges.completeAll(0)
      expect((await two.ask(VIEWER, { token: revoked })).code).toBe('UNAUTHENTICATED')
      expect((await two.ask(AS_ADMIN, { token: narrowed })).code).toBe('PERMISSION_DENIED')
    }, PATIENT)
  })

  it('is not asked while PostgreSQL cannot say what changed: requests are UNAVAILABLE, and then decided', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'porthor-rdb-'))
    onTestFinished(() => rm(dir, { recursive: true, force: true }))
    let redis: RedisProcess = await startRedis({ dir })
    onTestFinished(() => redis.stop())
    const database = await freshDatabase()
    onTestFinished(() => database.drop())
    const cable = await openTcpProxy(database.url)
    onTestFinished(() => cable.close())
    const secrets = serverSecrets()
    const env = { ...secrets, DATABASE_URL: cable.through(database.url), REDIS_URL: redis.url }
    const porthor = await openPorthor({ env, clock: systemClock, isOnGivenStores: true })
    onTestFinished(() => porthor.close())
    const { data } = await porthor.ask(SESSION, { token: secrets.BOOTSTRAP_TOKEN })
    const { token } = (data as { made: { token: string } }).made
    const control = new Redis(redis.url)
    control.on('error', () => undefined)
    onTestFinished(() => control.disconnect())
    await control.save()
    await porthor.ask(REVOKE, { token: secrets.BOOTSTRAP_TOKEN, variables: { key: parseToken(token).key } })

    await cable.refuse()
    await redis.kill()
    redis = await startRedis({ port: redis.port, dir })
    expect((await porthor.ask(VIEWER, { token })).code).toBe('UNAVAILABLE')
    await cable.pass()
    await vi.waitFor(
      async () => expect((await porthor.ask(VIEWER, { token })).code).toBe('UNAUTHENTICATED'),
      PATIENT,
    )
  })
})
