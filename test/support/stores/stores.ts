import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import pg from 'pg'
import { inject } from 'vitest'
import type {} from '../global-setup.ts'
import { copyDataDir } from './data-dir.ts'

export { type RedisProcess, startRedis } from './redis.ts'

export interface TestDatabase {
  readonly url: string
  /** Removes it, whoever is connected. Not needed at the end: the server goes with the run. */
  drop(): Promise<void>
}

/** A PostgreSQL database of one's own with Porthor's tables in it, all empty. */
export const freshDatabase = (): Promise<TestDatabase> => createDatabase(inject('templateDatabase'))

/** A PostgreSQL database of one's own with nothing in it. */
export const emptyDatabase = (): Promise<TestDatabase> => createDatabase('template1')

async function createDatabase(template: string): Promise<TestDatabase> {
  const name = `test_${randomBytes(8).toString('hex')}`
  await onServer((client) => client.query(`CREATE DATABASE ${name} TEMPLATE ${template}`))
  const url = new URL(inject('postgresUrl'))
  url.pathname = `/${name}`
  const drop = () => onServer((client) => client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`))
  return { url: url.href, drop }
}

/** Makes `directory` a data directory that Porthor has used once. Making one from nothing takes seconds. */
export const copyUsedDataDir = (directory: string): Promise<void> =>
  copyDataDir(inject('usedDataDir'), directory)

async function onServer(work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client(inject('postgresUrl'))
  await client.connect()
  await work(client).finally(() => client.end())
}

/**
 * This worker's Redis, emptied. Test files that run at the same time have others; those that run later in
 * the same worker get the same again. A test that stops or pauses Redis takes one from `startRedis`.
 */
export async function freshRedis(): Promise<{ url: string }> {
  const urls = inject('redisUrls')
  const url = urls[Number(process.env.VITEST_POOL_ID) - 1]
  if (url === undefined)
    throw new Error(`no Redis for worker ${process.env.VITEST_POOL_ID} of ${urls.length}`)
  const redis = new Redis(url)
  try {
    await redis.flushdb()
  } finally {
    redis.disconnect()
  }
  return { url }
}
