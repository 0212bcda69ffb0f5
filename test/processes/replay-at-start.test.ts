import type { Redis } from 'ioredis'
import pg from 'pg'
import { expect, it, onTestFinished, vi } from 'vitest'
import { REPLAY_LOCK } from '../../src/stores/database/advisory-locks.ts'
import { readServer } from '../../src/stores/redis/server.ts'
import { startPorthor } from '../support/processes/cli.ts'
import { serverSecrets, startServer } from '../support/processes/server-process.ts'
import { onServer, startRedis } from '../support/stores/redis.ts'
import { freshDatabase } from '../support/stores/stores.ts'

// Processes are started, on a busy machine slowly.
vi.setConfig({ testTimeout: 180_000 })

/** Long enough on a busy machine; nothing is decided by it. */
const PATIENT = { timeout: 120_000, interval: 20 }

const SESSION = 'mutation { createSessionToken(input: { username: "wren" }) { token } }'

/**
 * Stores with a token, whose Redis has restarted. Another process is applying history to it, until `finish`, which resolves
 * the time when a program has begun to wait for that.
 */
async function openRestartedStores() {
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  const secrets = serverSecrets()
  const env = { ...secrets, NODE_ENV: 'production', DATABASE_URL: database.url, REDIS_URL: redis.url }
  const server = await startServer(env)
  onTestFinished(() => server.kill())
  expect((await server.ask(SESSION, { token: secrets.BOOTSTRAP_TOKEN })).errors).toEqual([])
  await server.kill()

  const replayer = new pg.Client(database.url)
  await replayer.connect()
  onTestFinished(() => replayer.end())
  const { identity } = await onServer(redis.port, (own: Redis) => readServer(own))
  await replayer.query('DELETE FROM porthor_redis_run')
  await replayer.query('SELECT pg_advisory_lock($1, hashtext($2))', [REPLAY_LOCK, identity])
  const finish = async (printed: () => string) => {
    await vi.waitFor(() => expect(printed()).toContain('waiting for the token store'), PATIENT)
    await replayer.query('SELECT pg_advisory_unlock_all()')
  }
  return { env, finish }
}

it('a command waits until recent history is applied to Redis, and then succeeds', async () => {
  const { env, finish } = await openRestartedStores()
  const audit = startPorthor(['audit', '--fix'], { ...env })
  await Promise.race([finish(audit.stderr), audit.ended])
  expect(await audit.ended).toMatchObject({ code: 0, stdout: 'The stores agree.\n' })
})

it('a server whose keys decrypt no record refuses to start, also if recent history must first be applied to Redis', async () => {
  const { env, finish } = await openRestartedStores()
  const server = startPorthor(['serve'], { ...env, ...serverSecrets(), PORT: '0', HOST: '127.0.0.1' })
  await Promise.race([finish(server.stdout), server.prints(/listening/)])
  expect(await server.ended).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('No record of the token store can be read with a key of SESSION_SECRET'),
  })
})
