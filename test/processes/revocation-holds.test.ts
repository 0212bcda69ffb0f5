import { expect, it, onTestFinished, vi } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { openTrackedPair } from '../support/porthor/tracked-pair.ts'
import { openTcpProxy } from '../support/stores/tcp-proxy.ts'
import { openTrackingCable } from '../support/stores/tracking-cable.ts'

// Redis is awaited for seconds, on a busy machine longer.
vi.setConfig({ testTimeout: 180_000 })

const SESSION = `mutation { made: createSessionToken(input: { username: "wren", scopes: ["user:token", "read:all"] }) { token } }`
const USER = 'mutation ($name: String!) { made: createUserToken(input: { tokenName: $name }) { token } }'
const DELEGATE =
  'mutation ($service: String!) { made: internalToken(service: $service, scopes: ["read:all"]) { token } }'
const REVOKE = 'mutation ($key: ID!) { revokeToken(key: $key) { keys } }'
const REVOKE_ALL = 'mutation { revokeTokens(filter: { username: "wren" }) { count } }'

const LOOPS = 8
const ROUNDS = 10

type Pair = Awaited<ReturnType<typeof openTrackedPair>>

const newSession = async (p: Pick<Pair, 'asAdmin'>) =>
  (await p.asAdmin<{ made: { token: string } }>(SESSION)).made.token

/** Has many callers at once do `ask` over and over, until it is refused as by a token that is revoked. */
async function loop(ask: (n: number) => Promise<{ readonly code: unknown }>): Promise<void> {
  let n = 0
  const one = async (): Promise<void> => {
    for (let code: unknown; code !== 'UNAUTHENTICATED' && n < 5_000; n += 1) code = (await ask(n)).code
  }
  await Promise.all(Array.from({ length: LOOPS }, one))
}

/** Revokes until the answer is certain, as a client should; answers with every code on the way. */
async function revokeForSure(p: Pick<Pair, 'admin' | 'near'>, key: string): Promise<unknown[]> {
  const codes: unknown[] = []
  do codes.push((await p.near.ask(REVOKE, { token: p.admin, variables: { key } })).code)
  while (codes.at(-1) === 'UNAVAILABLE' && codes.length < 20)
  expect([undefined, 'NOT_FOUND']).toContain(codes.at(-1))
  return codes
}

it('no user token is left of those that eight loops create with a session that revokeTokens revokes meanwhile', async () => {
  const p = await openTrackedPair(onTestFinished, openTcpProxy)
  for (let round = 0; round < ROUNDS; round += 1) {
    const token = await newSession(p)
    const looped = loop((n) => p.near.ask(USER, { token, variables: { name: `token ${round} ${n}` } }))
    await vi.waitFor(async () => expect((await p.control.keys('token:*')).length).toBeGreaterThan(10), {
      timeout: 20_000,
    })
    await p.asAdmin(REVOKE_ALL)
    await looped
    expect(await p.control.keys('token:*')).toEqual([])
  }
})

it('a revoked token creates nothing once its revocation is answered, though no invalidation arrives', async () => {
  const p = await openTrackedPair(onTestFinished, openTrackingCable)
  const token = await newSession(p)
  await p.warm(token)
  p.cable.silence()
  await p.revoke(parseToken(token).key)
  for (let n = 0; n < 20; n += 1) {
    const { code } = await p.near.ask(USER, { token, variables: { name: `late ${n}` } })
    expect(code).toBe('UNAUTHENTICATED')
  }
  expect(await p.control.keys('token:*')).toEqual([])
})

it.each([
  ['Redis stops answering', async (p: Pair) => p.redis.pause(), async (p: Pair) => p.redis.resume()],
  ['Redis is killed', (p: Pair) => p.redis.kill(), (p: Pair) => p.restartRedis()],
] as const)('no child lives on where %s in the middle of a revocation', async (_what, stop, start) => {
  const p = await openTrackedPair(onTestFinished, openTcpProxy)
  for (let round = 0; round < ROUNDS / 2; round += 1) {
    const token = await newSession(p)
    const { key } = parseToken(token)
    const looped = loop((n) => p.far.ask(DELEGATE, { token, variables: { service: `service-${n}` } }))
    await vi.waitFor(async () => expect((await p.control.keys('token:*')).length).toBeGreaterThan(5), {
      timeout: 20_000,
    })
    const sent = p.cable.stopAt('del', 'hold')
    const first = p.near.ask(REVOKE, { token: p.admin, variables: { key } })
    await sent
    await stop(p)
    await first
    await start(p)
    await p.cable.pass()
    await revokeForSure(p, key)
    await looped
    expect(await p.control.keys('token:*')).toEqual([])
  }
})

it('no child lives on where what a revocation sends is stuck on its way, and arrives when it has given up', async () => {
  const p = await openTrackedPair(onTestFinished, openTcpProxy)
  for (let round = 0; round < ROUNDS; round += 1) {
    const token = await newSession(p)
    const { key } = parseToken(token)
    await p.far.ask(DELEGATE, { token, variables: { service: 'early' } })
    const stuck = p.cable.stopAt('del', 'delay')
    const asked = p.near.ask(REVOKE, { token: p.admin, variables: { key } })
    await stuck
    const { code, errors } = await asked
    expect(code).toBe('UNAVAILABLE')
    expect(errors[0]?.message).toContain('is recorded and will be completed')
    // Its record is still there: but nothing is issued of it.
    expect(await p.far.ask(DELEGATE, { token, variables: { service: 'late' } })).toMatchObject({
      code: 'UNAUTHENTICATED',
    })
    await p.cable.pass()
    await revokeForSure(p, key)
    expect(await p.control.keys('token:*')).toEqual([])
  }
})
