import { Redis } from 'ioredis'
import { expect, it, onTestFinished, vi } from 'vitest'
import { systemClock } from '../../../src/lib/clock.ts'
import { RedisInvalidations } from '../../../src/stores/token-store/redis-invalidations.ts'
import { recordingLog } from '../../support/checks/log.ts'
import { startRedis } from '../../support/stores/redis.ts'

/** Long enough on a busy machine; nothing is decided by it. */
const PATIENT = { timeout: 20_000, interval: 20 }

it('while invalidations cannot be received, nobody is called for each attempt, and once when they are', async () => {
  const { url, stop } = await startRedis()
  onTestFinished(stop)
  const control = new Redis(url)
  const redis = new Redis(url)
  onTestFinished(() => {
    control.disconnect()
    redis.disconnect()
  })
  await control.call('ACL', 'SETUSER', 'default', '-client|tracking')
  const calls: (readonly string[] | null)[] = []
  const invalidations = new RedisInvalidations({
    redis,
    clock: systemClock,
    onChange: (keys) => calls.push(keys),
    log: recordingLog().log,
  })
  onTestFinished(() => invalidations.close())
  const refused = async () =>
    Number(
      /^cmdstat_client\|tracking:.*rejected_calls=(\d+)/m.exec(await control.info('commandstats'))?.[1] ?? 0,
    )
  await vi.waitFor(async () => expect(await refused()).toBeGreaterThanOrEqual(3), PATIENT)
  expect(calls).toEqual([])

  await control.call('ACL', 'SETUSER', 'default', '+client|tracking')
  await vi.waitFor(() => expect(invalidations.isLive).toBe(true), PATIENT)
  expect(calls).toEqual([null])
  await control.set('token:key', 'changed')
  await vi.waitFor(() => expect(calls).toEqual([null, ['token:key']]), PATIENT)
})
