import type { Redis } from 'ioredis'
import { describe, expect, it, vi } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { openTrackedPair } from '../support/porthor/tracked-pair.ts'
import { send } from '../support/requests/http.ts'
import { openTcpProxy } from '../support/stores/tcp-proxy.ts'
import { openTrackingCable } from '../support/stores/tracking-cable.ts'
import { statementsOf } from '../support/tokens/trees.ts'

/** How long a process may act, at the most, on what has changed elsewhere, in milliseconds: the contract says so. */
const BOUND_MS = 2_000

const keyOf = (bearer: string): string => parseToken(bearer).key

/** The connections of the one process that tracks changes. */
async function trackingLink(
  control: Redis,
): Promise<{ readonly tracker: number; readonly subscriber: number }> {
  const [, tracker, subscriber] =
    /^id=(\d+) .* flags=\S*t\S* .* redir=(\d+) /m.exec(String(await control.client('LIST'))) ?? []
  return { tracker: Number(tracker), subscriber: Number(subscriber) }
}

// Each test has stores of its own, and some wait for a bound to pass.
describe.concurrent('a process with a client-side cache', { timeout: 120_000 }, () => {
  it.for(['subscriber', 'tracker'] as const)(
    'obeys a revocation though its %s is killed just before, and keeps copies again afterwards',
    async (which, { expect, onTestFinished }) => {
      const p = await openTrackedPair(onTestFinished, openTcpProxy)
      const session = await p.session()
      const child = await p.warm(session)
      const link = await trackingLink(p.control)
      expect(await p.control.client('KILL', 'ID', link[which])).toBe(1)
      const revokedAt = await p.revoke(child)
      const { key, lastLent } = await p.untilNotLent(session, child)
      expect(key).toEqual(expect.any(String))
      expect(lastLent - revokedAt).toBeLessThan(BOUND_MS)

      expect(await p.warm(session)).toBe(key)
      await p.revoke(keyOf(session))
      expect(await p.untilNotLent(session, key ?? '')).toMatchObject({ code: 'UNAUTHENTICATED' })
    },
  )

  it('refuses a revoked token though all its connections to Redis were lost just before, and caches again afterwards', async ({
    expect,
    onTestFinished,
  }) => {
    const p = await openTrackedPair(onTestFinished, openTcpProxy)
    const session = await p.session()
    const child = await p.warm(session)
    p.cable.cut()
    const revokedAt = await p.revoke(child)
    const { key, lastLent } = await p.untilNotLent(session, child)
    expect(lastLent - revokedAt).toBeLessThan(BOUND_MS)
    expect(await p.warm(session)).toBe(key)
  })

  it('refuses a revoked token within two seconds though the invalidation was lost, and reads from Redis each time until invalidations arrive again', async ({
    expect,
    onTestFinished,
  }) => {
    const p = await openTrackedPair(onTestFinished, openTrackingCable)
    const [session, asleep, other] = [await p.session(), await p.session(), await p.session()]
    const child = await p.warm(session)
    await p.warm(asleep)
    const kept = await p.warm(other)
    p.cable.silence()
    const revokedAt = await p.revoke(keyOf(session))
    const { code, lastLent } = await p.untilNotLent(session, child)
    expect(code).toBe('UNAUTHENTICATED')
    expect(lastLent - revokedAt).toBeLessThan(BOUND_MS)
    expect(p.cable.lost()).toContain(`token:${keyOf(session)}`)

    await p.revoke(keyOf(asleep))
    const commands = await p.commandsOf(async () => {
      for (let time = 0; time < 10; time += 1)
        expect(await p.lend(p.near, other)).toMatchObject({ key: kept })
    })
    // And some more, now and then: since the link was lost, the process looks whether parents are deleted.
    expect(commands.get).toBeGreaterThanOrEqual(2 * 10)
    p.cable.speak()
    expect(await p.warm(other)).toBe(kept)
    // Of which it was not asked, and heard nothing, while it was deaf.
    expect(await p.lend(p.near, asleep)).toMatchObject({ code: 'UNAUTHENTICATED' })
  })

  it('uses no cached record older than two seconds while Redis is stopped, returns UNAVAILABLE, and reuses again once Redis continues', async ({
    expect,
    onTestFinished,
  }) => {
    const p = await openTrackedPair(onTestFinished, openTcpProxy)
    const session = await p.session()
    const child = await p.warm(session)
    p.redis.pause()
    const pausedAt = performance.now()
    const { code, lastLent } = await p.untilNotLent(session, child)
    expect(code).toBe('UNAVAILABLE')
    expect(lastLent - pausedAt).toBeLessThan(BOUND_MS)
    p.redis.resume()
    expect(await p.warm(session)).toBe(child)
  })

  it('uses no cached record from before a restart of Redis, and caches again without a restart of its own', async ({
    expect,
    onTestFinished,
  }) => {
    const p = await openTrackedPair(onTestFinished, openTcpProxy)
    const [session, asleep] = [await p.session(), await p.session()]
    await p.warm(session)
    await p.warm(asleep)
    await p.restartRedis()
    expect(await p.lend(p.near, session)).toMatchObject({ code: 'UNAUTHENTICATED' })
    await p.warm(await p.session())
    expect(await p.lend(p.near, asleep)).toMatchObject({ code: 'UNAUTHENTICATED' })
  })
})

describe('the commands and queries of a reuse:', () => {
  const REUSES = 200

  // Not at the same time as others: statements are counted at the driver, for the whole of this process.
  it('a warm reuse sends no query to PostgreSQL and no command to Redis; without a client-side cache, one command to Redis each time', {
    timeout: 60_000,
  }, async ({ onTestFinished }) => {
    const p = await openTrackedPair(onTestFinished, openTcpProxy)
    const session = await p.session()
    const child = await p.warm(session)
    const reuse = (porthor: typeof p.near) => async () => {
      for (let time = 0; time < REUSES; time += 1) {
        expect(await p.lend(porthor, session)).toMatchObject({ key: child })
      }
    }
    // Again, should the machine stall for so long that the link counts as lost.
    await vi.waitFor(
      async () => {
        await p.warm(session)
        const statements = await statementsOf(async () =>
          expect(await p.commandsOf(reuse(p.near))).toEqual({}),
        )
        expect(statements).toEqual([])
      },
      { timeout: 20_000 },
    )

    await p.lend(p.far, session)
    expect(await p.commandsOf(reuse(p.far))).toEqual({ get: 2 * REUSES })
  })

  it('a warm request of a gateway sends no query to PostgreSQL and no command to Redis', async ({
    onTestFinished,
  }) => {
    const p = await openTrackedPair(onTestFinished, openTcpProxy)
    const headers = { Authorization: `Bearer ${await p.session()}` }
    const request = () => send(`${p.near.authUrl}auth/tap`, { headers })
    const requests = async () => {
      for (let time = 0; time < REUSES; time += 1) expect((await request()).status).toBe(200)
    }
    await vi.waitFor(
      async () => {
        await request()
        const statements = await statementsOf(async () => expect(await p.commandsOf(requests)).toEqual({}))
        expect(statements).toEqual([])
      },
      { timeout: 20_000 },
    )
  })
})
