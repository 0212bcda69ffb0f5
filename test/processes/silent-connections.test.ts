import { describe, it, vi } from 'vitest'
import { openTrackedPair, type TrackedPair } from '../support/porthor/tracked-pair.ts'
import { openTcpProxy, type TcpProxy } from '../support/stores/tcp-proxy.ts'

/** Long enough on a busy machine; nothing is decided by it. */
const PATIENT = { timeout: 10_000, interval: 50 }

const DELEGATE = 'mutation { lent: internalToken(service: "tap", scopes: ["read:all"]) { source } }'

/** What a client of `near` is told that presents a token that `near` has never seen. */
async function askCold(p: TrackedPair<TcpProxy>, session: string): Promise<unknown> {
  return (await p.near.ask('{ viewer { user { username } } }', { token: session })).code
}

// Each test has stores of its own, and some wait for a bound to pass.
describe.concurrent('a connection to Redis that is lost without a close', { timeout: 60_000 }, () => {
  it.for([
    ['while nobody uses it', () => undefined],
    ['with commands on their way', (p: TrackedPair<TcpProxy>, session: string) => void askCold(p, session)],
  ] as const)(
    '%s is left, and requests succeed again without a restart: until then they are UNAVAILABLE',
    async ([, use], { expect, onTestFinished }) => {
      const p = await openTrackedPair(onTestFinished, openTcpProxy)
      const [session, cold] = [await p.session(), await p.session()]
      await p.warm(session)
      p.cable.forget()
      use(p, cold)
      await vi.waitFor(async () => {
        const code = await askCold(p, cold)
        expect([undefined, 'UNAVAILABLE']).toContain(code)
        expect(code).toBe(undefined)
      }, PATIENT)
      await p.warm(session)
    },
  )

  it.for([
    [
      'while the network swallows everything',
      (p: TrackedPair<TcpProxy>) => p.cable.swallow(),
      (p: TrackedPair<TcpProxy>) => p.cable.pass(),
    ],
    [
      'while its server hangs',
      (p: TrackedPair<TcpProxy>) => p.redis.pause(),
      async (p: TrackedPair<TcpProxy>) => p.redis.resume(),
    ],
  ] as const)(
    '%s is opened again once that passes: until then requests are UNAVAILABLE',
    async ([, silence, end], { expect, onTestFinished }) => {
      const p = await openTrackedPair(onTestFinished, openTcpProxy)
      const [session, other] = [await p.session(), await p.session()]
      await p.warm(session)
      silence(p)
      for (let time = 0; time < 3; time += 1) expect(await askCold(p, other)).toBe('UNAVAILABLE')
      await end(p)
      await vi.waitFor(async () => expect(await askCold(p, other)).toBe(undefined), PATIENT)
      await p.warm(session)
    },
  )

  it('by the subscription to clearTokenCache is opened again, and missed messages are made up for', async ({
    expect,
    onTestFinished,
  }) => {
    const p = await openTrackedPair(onTestFinished, openTcpProxy)
    const session = await p.session()
    const source = async () => {
      const { data } = await p.near.ask(DELEGATE, { token: session })
      return (data as { lent: { source: string } }).lent.source
    }
    const clear = () => p.asAdmin('mutation { clearTokenCache { internal } }')
    await p.warm(session)
    p.cable.forget('porthor_clear_token_cache')
    await clear()
    await vi.waitFor(async () => expect(await source()).toBe('DATABASE'), PATIENT)
    expect(await source()).toBe('CACHE')
    await vi.waitFor(async () => {
      await clear()
      expect(await source()).toBe('DATABASE')
    }, PATIENT)
  })
})
