import { expect, it, onTestFinished, vi } from 'vitest'
import { parseRedisUrl } from '../../../src/lib/redis-url.ts'
import { openRedis } from '../../../src/stores/redis/client.ts'
import { createCommand, RedisWrites } from '../../../src/stores/token-store/redis-writes.ts'
import { recordingLog } from '../../support/checks/log.ts'
import { onServer, startRedis, untilReplicated } from '../../support/stores/redis.ts'

it('a change succeeds only when the required number of replicas have acknowledged it, and else is UNAVAILABLE', async () => {
  const master = await startRedis()
  onTestFinished(() => master.stop())
  const replicaof = ['--replicaof', '127.0.0.1', String(master.port), '--repl-diskless-sync-delay', '0']
  const replica = await startRedis({ args: replicaof })
  onTestFinished(() => replica.stop())
  await untilReplicated(master, replica)
  const redis = openRedis(parseRedisUrl(master.url), recordingLog().log)
  onTestFinished(() => redis.disconnect())
  const outcome = expect.objectContaining({ code: 'UNAVAILABLE', store: 'redis' })
  const set = (replicas: number) =>
    new RedisWrites(redis, replicas).send([createCommand('set', 'x', replicas)])

  await vi.waitFor(async () => expect(await set(1)).toEqual(['OK']), { timeout: 20_000 })
  expect(await onServer(replica.port, (own) => own.get('x'))).toBe('1')
  await expect(set(2)).rejects.toEqual(outcome)
  replica.pause()
  await expect(set(1)).rejects.toEqual(outcome)
  expect(await set(0)).toEqual(['OK'])
  replica.resume()
  await vi.waitFor(async () => expect(await set(1)).toEqual(['OK']), { timeout: 20_000 })
})
