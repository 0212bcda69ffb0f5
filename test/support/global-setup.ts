import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { TestProject } from 'vitest/node'
import { openEmbeddedPostgres } from '../../src/embedded-postgres/embedded-postgres.ts'
import { parsePostgresUrl } from '../../src/lib/postgres-url.ts'
import { migrate } from '../../src/stores/migrations/migrations.ts'
import { buildProgram } from './processes/program.ts'
import { copyDataDir } from './stores/data-dir.ts'
import { startRedis } from './stores/redis.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Of the server that all tests share; tests make databases of their own on it. */
    postgresUrl: string
    /** Name of the database that those of the tests are copies of. Nobody may be connected to it. */
    templateDatabase: string
    /** A data directory that Porthor has used once, with all migrations applied; nothing runs in it. */
    usedDataDir: string
    /** One Redis, or logical database of one, for each worker. Tests flush it. */
    redisUrls: string[]
  }
}

const log = {
  info: () => undefined,
  warn: (facts: object, message: string) => process.stderr.write(`${message} ${JSON.stringify(facts)}\n`),
}

/** Builds the program, and starts real stores for the whole run. Nothing of these outlives it. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await buildProgram()
  const undo: (() => Promise<unknown>)[] = []
  const makeDataDir = async (name: string): Promise<string> => {
    const directory = await mkdtemp(join(tmpdir(), name))
    undo.push(() => rm(directory, { recursive: true, force: true }))
    return directory
  }
  const teardown = async () => {
    for (const step of undo.toReversed()) await step()
  }
  try {
    const unsafeButFast = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off']
    const postgresFlags = unsafeButFast.flatMap((setting) => ['-c', setting])
    const usedDataDir = await makeDataDir('porthor-used-')
    const first = await openEmbeddedPostgres({ dataDir: usedDataDir, log, postgresFlags })
    await migrate(parsePostgresUrl(first.url), { log }).finally(() => first.close())
    project.provide('usedDataDir', usedDataDir)

    const dataDir = await makeDataDir('porthor-test-')
    await copyDataDir(usedDataDir, dataDir)
    const postgres = await openEmbeddedPostgres({ dataDir, log, postgresFlags })
    undo.push(() => postgres.close())
    const url = new URL(postgres.url)
    project.provide('templateDatabase', url.pathname.slice(1))
    url.pathname = '/postgres'
    project.provide('postgresUrl', url.href)

    const { maxWorkers } = project.config
    const { REDIS_URL: redisUrl } = process.env
    const redis = redisUrl ? await useRedis(redisUrl, maxWorkers) : await startRedisServers(maxWorkers)
    undo.push(redis.close)
    project.provide('redisUrls', redis.urls)
    return teardown
  } catch (error) {
    await teardown()
    throw error
  }
}

interface RedisForAll {
  readonly urls: string[]
  close(): Promise<unknown>
}

/** A server each, because a flush, and what `CLIENT TRACKING` tells, is not kept apart by logical databases. */
async function startRedisServers(count: number): Promise<RedisForAll> {
  const servers = await Promise.all(Array.from({ length: count }, () => startRedis()))
  return {
    urls: servers.map(({ url }) => url),
    close: () => Promise.all(servers.map((server) => server.stop())),
  }
}

/** Logical databases 1, 2, ... of the Redis at `url`. They must be empty, for the tests flush them. */
async function useRedis(url: string, count: number): Promise<RedisForAll> {
  const urls = Array.from({ length: count }, (_, index) => {
    const database = new URL(url)
    database.pathname = `/${index + 1}`
    return database.href
  })
  const flush = async () => {
    for (const each of urls) await withRedis(each, (redis) => redis.flushdb())
  }
  for (const each of urls) {
    const size = await withRedis(each, (redis) => redis.dbsize())
    if (size === 0) continue
    const database = new URL(each).pathname.slice(1)
    throw new Error(
      `Database ${database} of the Redis at REDIS_URL holds ${size} keys, and the tests would flush them: empty it, ` +
        'or unset REDIS_URL to let the tests start a Redis of their own.',
    )
  }
  return { urls, close: flush }
}

async function withRedis<T>(url: string, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, { maxRetriesPerRequest: 1 })
  redis.on('error', () => undefined)
  try {
    return await work(redis)
  } catch (cause) {
    throw new Error('The Redis at REDIS_URL does not answer: start it, or unset REDIS_URL.', { cause })
  } finally {
    redis.disconnect()
  }
}
