import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { PrismaClient } from '../../../src/generated/prisma/client.ts'
import { parsePostgresUrl } from '../../../src/lib/postgres-url.ts'
import { openPrisma } from '../../../src/stores/database/prisma.ts'
import { RedisRunDatabase } from '../../../src/stores/database/redis-run-database.ts'
import { RunsInUse } from '../../../src/stores/database/runs-in-use.ts'
import { recordingLog } from '../../support/checks/log.ts'
import { freshDatabase } from '../../support/stores/stores.ts'

const OPTIONS = { leftMs: undefined, windowSeconds: 600, isOnlyRun: true }
const nothing = async () => undefined

let drop: () => Promise<void>
let prisma: PrismaClient
let database: RedisRunDatabase
beforeAll(async () => {
  const fresh = await freshDatabase()
  drop = fresh.drop
  prisma = openPrisma(parsePostgresUrl(fresh.url), recordingLog().log)
  database = new RedisRunDatabase(prisma)
})
beforeEach(() => prisma.redisRun.deleteMany())
afterAll(async () => {
  await prisma.$disconnect()
  await drop()
})

/** What a process knows that uses these runs. */
function using(...identities: readonly string[]): RunsInUse {
  const runs = new RunsInUse()
  runs.track()
  for (const identity of identities) runs.enter(identity)
  return runs
}

const isCurrent = (runs: RunsInUse, mark = runs.mark()): Promise<boolean> =>
  runs.requireCurrent(prisma, mark).then(
    () => true,
    ({ code }) => {
      expect(code).toBe('UNAVAILABLE')
      return false
    },
  )

describe('a change of the token store counts only', () => {
  test('if the process uses the run of Redis that began last, also while the history is still being applied to that', async () => {
    await database.replay('old', OPTIONS, nothing)
    expect(await isCurrent(using('old'))).toBe(true)
    await database.replay('new', OPTIONS, async () => {
      expect(await isCurrent(using('old'))).toBe(false)
    })
    expect(await isCurrent(using('old'))).toBe(false)
    expect(await isCurrent(using('new'))).toBe(true)
  })

  test('if the process uses no other run beside it', async () => {
    await database.replay('old', OPTIONS, nothing)
    await database.replay('new', OPTIONS, nothing)
    expect(await isCurrent(using('old', 'new'))).toBe(false)
    expect(await isCurrent(using())).toBe(false)
    const runs = using('old', 'new', 'new')
    runs.leave('old')
    runs.leave('new')
    expect(await isCurrent(runs)).toBe(true)
  })

  test('if the process has used no other run since the change began; it may have lost its connection', async () => {
    await database.replay('new', OPTIONS, nothing)
    const steady = using('new')
    const before = steady.mark()
    steady.leave('new')
    expect(await isCurrent(steady, before)).toBe(false)
    steady.enter('new')
    expect(await isCurrent(steady, before)).toBe(true)
    const runs = using('old')
    const mark = runs.mark()
    runs.leave('old')
    runs.enter('new')
    expect(await isCurrent(runs, mark)).toBe(false)
    expect(await isCurrent(runs)).toBe(true)
  })

  test('where the token store is one Redis: masters of a cluster do not replace each other', async () => {
    const cluster = { ...OPTIONS, isOnlyRun: false }
    await database.replay('first', cluster, nothing)
    await database.replay('second', cluster, nothing)
    expect(await isCurrent(new RunsInUse())).toBe(true)
    expect(await database.replay('first', cluster, nothing)).toBe('known')
  })
})

describe('history is applied', () => {
  test('once to a run, and again where another run began since', async () => {
    expect(await database.replay('old', OPTIONS, nothing)).toBe('applied')
    expect(await database.replay('old', OPTIONS, nothing)).toBe('known')
    expect(await database.replay('new', OPTIONS, nothing)).toBe('applied')
    expect(await database.replay('old', OPTIONS, nothing)).toBe('applied')
    expect(await database.findNewest()).toBe('old')
  })

  test('again where it failed before its end', async () => {
    const failed = database.replay('new', OPTIONS, () => Promise.reject(new Error('Redis is lost')))
    await expect(failed).rejects.toThrow('Redis is lost')
    expect(await database.findNewest()).toBe('new')
    expect(await database.replay('new', OPTIONS, nothing)).toBe('applied')
  })
})
