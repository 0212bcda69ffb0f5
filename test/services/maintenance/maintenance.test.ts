import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { openApp } from '../../../src/app.ts'
import { type Later, startBackgroundJobs } from '../../../src/background-jobs.ts'
import { loadConfig } from '../../../src/config/config.ts'
import { addSeconds } from '../../../src/domain/lifetime.ts'
import type { MaintenanceService } from '../../../src/services/maintenance/maintenance-service.ts'
import { failure } from '../../support/checks/failures.ts'
import type { Porthor } from '../../support/porthor/porthor.ts'
import { usePorthor } from '../../support/porthor/use-porthor.ts'
import { waitForLocks } from '../../support/stores/locks.ts'
import { openTcpProxy } from '../../support/stores/tcp-proxy.ts'
import {
  bearerOf,
  connect,
  dataOf,
  emptyStores,
  historyOf,
  jsonTime,
  keyOf,
  keysOf,
  lend,
  makeRoot,
  makeTree,
  rowsOf,
  storedOf,
} from '../../support/tokens/trees.ts'

const NOTHING = { expired: 0, truncated: 0, orphaned: 0, swept: 0 }

const upkeepOf = ({ context }: Porthor): MaintenanceService => context.services.maintenance

describe.each(['redis', 'postgres'] as const)('maintenance, with the token store in %s,', (store) => {
  const t = usePorthor(store)
  beforeEach(() => emptyStores(t.h))

  it('removes tokens from the second in which they expire, with a history event for each', async () => {
    const { root, child, notebook, grandchild } = await makeTree(t.h, { tokenName: 'laptop', endsIn: 600 })
    const { username } = root
    const [later, endless] = [
      await makeRoot(t.h, { username, endsIn: 601 }),
      await makeRoot(t.h, { username }),
    ]
    const all = [root, child, notebook, grandchild, later, endless]
    t.h.clock.advance(599)
    expect(await upkeepOf(t.h).run()).toEqual(NOTHING)
    t.h.clock.advance(1)

    expect(await upkeepOf(t.h).run()).toEqual({ ...NOTHING, expired: 4, swept: store === 'postgres' ? 4 : 0 })
    expect(Object.keys(await rowsOf(t.h, all)).sort()).toEqual(keysOf([later, endless]).sort())
    const common = {
      username,
      scopes: expect.any(String),
      expires: jsonTime(t.h.clock.now()),
      actor: '<internal>',
      action: 'expire',
      old_token_name: null,
      old_scopes: null,
      old_expires: null,
      ip_address: null,
      event_time: jsonTime(t.h.clock.now()),
    }
    const expired = await historyOf(t.h, all, 'expire')
    expect(expired).toHaveLength(4)
    expect(expired).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          ...common,
          token: keyOf(root),
          token_name: 'laptop',
          parent: null,
          service: null,
        }),
        expect.objectContaining({
          ...common,
          token: keyOf(child),
          token_name: null,
          parent: keyOf(root),
          service: 'portal',
        }),
        expect.objectContaining({ ...common, token: keyOf(notebook), parent: keyOf(root), service: null }),
        expect.objectContaining({
          ...common,
          token: keyOf(grandchild),
          parent: keyOf(child),
          scopes: 'read:all',
        }),
      ]),
    )
    expect(await upkeepOf(t.h).run()).toEqual(NOTHING)
  })

  it('keeps the records of live tokens', async () => {
    const [dying, living] = [await makeRoot(t.h, { endsIn: 300 }), await makeRoot(t.h, { endsIn: 301 })]
    t.h.clock.advance(300)
    await upkeepOf(t.h).run()

    expect(await storedOf(t.h, store, store === 'postgres' ? [dying, living] : [living])).toEqual([living])
    await dataOf(t.h, '{ viewer { token { key } } }', { token: bearerOf(living) })
  })
})

describe('maintenance', () => {
  const t = usePorthor('postgres')
  beforeEach(() => emptyStores(t.h))

  it('decides by the row at the moment of its deletion: a token that is extended meanwhile stays', async () => {
    const [extended, other] = [await makeRoot(t.h, { endsIn: 300 }), await makeRoot(t.h, { endsIn: 300 })]
    t.h.clock.advance(300)
    const editing = await connect(t.h)
    await editing.query('BEGIN')
    await editing.query(`UPDATE token SET expires = expires + interval '1 day' WHERE token = $1`, [
      keyOf(extended),
    ])
    const running = upkeepOf(t.h).run()
    expect(
      await Promise.race([running, waitForLocks(t.h, 1).then(() => 'waits for the lock')]),
    ).toMatchObject({
      expired: 1,
    })
    await editing.query('COMMIT')

    expect(Object.keys(await rowsOf(t.h, [extended, other]))).toEqual([keyOf(extended)])
    expect(await upkeepOf(t.h).run()).toMatchObject({ expired: 0 })
    expect(await historyOf(t.h, [extended], 'expire')).toEqual([])
  })

  it('leaves a row that another transaction holds to the next run', async () => {
    const root = await makeRoot(t.h, { endsIn: 300 })
    t.h.clock.advance(300)
    const holding = await connect(t.h)
    await holding.query('BEGIN')
    await holding.query('SELECT FROM token WHERE token = $1 FOR KEY SHARE', [keyOf(root)])

    expect(await upkeepOf(t.h).run()).toMatchObject({ expired: 0 })
    await holding.query('ROLLBACK')
    expect(await upkeepOf(t.h).run()).toMatchObject({ expired: 1 })
  })

  it('revokes a child that would expire after its parent, once the parent has expired', async () => {
    const root = await makeRoot(t.h, { endsIn: 300 })
    const child = await lend(t.h, root, 'tap')
    await t.h.sql(`UPDATE token SET expires = expires + interval '1 day' WHERE token = $1`, [keyOf(child)])
    t.h.clock.advance(300)

    expect(await upkeepOf(t.h).run()).toMatchObject({ expired: 1, orphaned: 1 })
    expect(await rowsOf(t.h, [child])).toEqual({})
  })

  it('works in batches, and reports its progress', async () => {
    const { username } = await makeRoot(t.h)
    const ended = addSeconds(t.h.clock.now(), -1).toISOString()
    await t.h.sql(
      `INSERT INTO token (token, username, token_type, scopes, created, expires)
       SELECT n::text, $1, 'session', '', '2026-01-01', $2 FROM generate_series(1, 2100) AS n`,
      [username, ended],
    )
    await t.h.sql(
      `INSERT INTO token_change_history (token, username, token_type, scopes, actor, action, event_time)
       SELECT n::text, $1, 'session', '', 'wren', 'create', '2020-01-01' FROM generate_series(1, 1000) AS n`,
      [username],
    )
    const told: number[] = []

    expect(await upkeepOf(t.h).run((done) => told.push(done))).toEqual({
      ...NOTHING,
      expired: 2100,
      truncated: 1000,
    })
    expect(told).toEqual([1000, 2000, 2100, 3100, 3100, 3100, 3100])
    expect(await t.h.sql(`SELECT count(*)::int FROM token_change_history WHERE action = 'expire'`)).toEqual([
      { count: 2100 },
    ])
  })

  it.each([
    [undefined, 365 * 86_400],
    ['90d', 90 * 86_400],
  ])('keeps history for HISTORY_RETENTION, and removes what is older: %s', async (retention, seconds) => {
    await t.h.restart(retention ? { HISTORY_RETENTION: retention } : {})
    const root = await makeRoot(t.h)
    t.h.clock.advance(seconds)
    expect(await upkeepOf(t.h).run()).toEqual(NOTHING)
    t.h.clock.advance(1)

    expect(await upkeepOf(t.h).run()).toEqual({ ...NOTHING, truncated: 1 })
    expect(await historyOf(t.h, [root])).toEqual([])
    expect(Object.keys(await rowsOf(t.h, [root]))).toEqual([keyOf(root)])
  })

  it('runs in one process at a time, and in the next one afterwards', async () => {
    const root = await makeRoot(t.h, { endsIn: 300 })
    t.h.clock.advance(300)
    const { clock, log } = t.h.context
    const other = openApp(loadConfig(t.h.env), { clock, log })
    onTestFinished(other.close)
    const holding = await connect(t.h)
    await holding.query('BEGIN')
    await holding.query('LOCK TABLE token_change_history IN EXCLUSIVE MODE')
    const running = upkeepOf(t.h).run()
    await waitForLocks(t.h, 1)

    expect(await other.services.maintenance.run()).toBeUndefined()
    await holding.query('COMMIT')
    expect(await running).toMatchObject({ expired: 1 })
    expect(await other.services.maintenance.run()).toEqual(NOTHING)
    expect(await historyOf(t.h, [root], 'expire')).toHaveLength(1)
  })

  it('that fails is UNAVAILABLE, keeps what was done, and releases its lock for the next process', async () => {
    const proxy = await openTcpProxy(t.h.env.DATABASE_URL ?? '')
    onTestFinished(() => proxy.close())
    const { clock, log } = t.h.context
    const env = { ...t.h.env, DATABASE_URL: proxy.through(t.h.env.DATABASE_URL ?? '') }
    const cut = openApp(loadConfig(env), { clock, log })
    onTestFinished(cut.close)
    const root = await makeRoot(t.h, { endsIn: 300 })
    t.h.clock.advance(300)

    const truncating = proxy.stopAt('DELETE FROM token_change_history', 'before')
    await expect(cut.services.maintenance.run()).rejects.toThrow(failure('UNAVAILABLE'))
    await truncating
    expect(await rowsOf(t.h, [root])).toEqual({})
    expect(await upkeepOf(t.h).run()).toMatchObject({ expired: 0 })

    await proxy.refuse()
    await expect(cut.services.maintenance.run()).rejects.toThrow(failure('UNAVAILABLE'))
    await proxy.pass()
  })

  it('is run by the server in its first minute and every hour, and usage is written every ten seconds, until the server stops', async () => {
    const timers = testTimers()
    const stop = startBackgroundJobs(t.h.context, timers.later)
    const [dying, used] = [await makeRoot(t.h, { endsIn: 300 }), await makeRoot(t.h)]
    await t.h.stored(bearerOf(used))
    t.h.clock.advance(300)
    timers.advance(60_000)
    await expect
      .poll(() => rowsOf(t.h, [used]))
      .toMatchObject({ [keyOf(used)]: { last_used: expect.any(String) } })
    await expect.poll(() => rowsOf(t.h, [dying])).toEqual({})
    await expect.poll(timers.pending).toBe(3)

    const next = await makeRoot(t.h, { endsIn: 300 })
    t.h.clock.advance(300)
    timers.advance(60 * 60 * 1000)
    await stop()
    expect(await rowsOf(t.h, [next])).toEqual({})
    expect(timers.pending()).toBe(0)
  })

  it('that takes long in the server is run again only after it has ended, an hour later', async () => {
    const holding = await connect(t.h)
    await holding.query('SELECT pg_advisory_lock(64)')
    onTestFinished(async () => void (await t.h.sql('DROP FUNCTION stop CASCADE')))
    await t.h.sql(
      `CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN PERFORM pg_advisory_xact_lock_shared(64); RETURN NULL; END $$;
       CREATE TRIGGER stop AFTER DELETE ON token FOR EACH ROW EXECUTE FUNCTION stop()`,
    )
    const timers = testTimers()
    const stop = startBackgroundJobs(t.h.context, timers.later)
    onTestFinished(stop)
    await makeRoot(t.h, { endsIn: 300 })
    t.h.clock.advance(300)
    timers.advance(60_000)
    await waitForLocks(t.h, 1)
    await expect.poll(timers.pending).toBe(2)
    await holding.query('SELECT pg_advisory_unlock(64)')
    await expect.poll(timers.pending).toBe(3)
  })

  it('that fails in the server is logged, and run again an hour later', async () => {
    const proxy = await openTcpProxy(t.h.env.DATABASE_URL ?? '')
    onTestFinished(() => proxy.close())
    const { clock, log } = t.h.context
    const env = { ...t.h.env, DATABASE_URL: proxy.through(t.h.env.DATABASE_URL ?? '') }
    const cut = openApp(loadConfig(env), { clock, log })
    onTestFinished(cut.close)
    const timers = testTimers()
    const stop = startBackgroundJobs(cut, timers.later)
    onTestFinished(stop)
    const root = await makeRoot(t.h, { endsIn: 300 })
    t.h.clock.advance(300)
    await proxy.refuse()

    timers.advance(60_000)
    await expect.poll(() => t.h.logLines.map(({ msg }) => msg)).toContain('could not run maintenance')
    await expect.poll(timers.pending).toBe(3)
    await proxy.pass()
    timers.advance(60 * 60 * 1000)
    await expect.poll(() => rowsOf(t.h, [root])).toEqual({})
  })
})

/** Timers that a test moves on. */
function testTimers() {
  let now = 0
  const timers = new Set<{ readonly at: number; readonly work: () => void }>()
  const later: Later = (work, delayMs) => {
    const timer = { at: now + delayMs, work }
    timers.add(timer)
    return () => void timers.delete(timer)
  }
  const advance = (ms: number) => {
    now += ms
    for (const timer of [...timers].filter(({ at }) => at <= now)) {
      timers.delete(timer)
      timer.work()
    }
  }
  return { later, advance, pending: () => timers.size }
}
