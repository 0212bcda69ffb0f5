import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { openPorthor, type Porthor } from '../support/porthor/porthor.ts'
import { runPorthor, runPorthorAt } from '../support/processes/cli.ts'
import { faultsIn, runHere } from '../support/processes/command.ts'
import { waitForLocks } from '../support/stores/locks.ts'
import { emptyDatabase } from '../support/stores/stores.ts'
import { connect, emptyStores, keyOf, makeRoot, rowsOf } from '../support/tokens/trees.ts'
import { TestClock } from '../support/waiting/test-clock.ts'

// Each command is a process of its own, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 120_000 })

describe('porthor maintenance', () => {
  let h: Porthor
  // Commands go by the machine's clock: what this Porthor makes was made an hour ago.
  beforeAll(async () => {
    h = await openPorthor({ store: 'postgres', clock: new TestClock(new Date(Date.now() - 3_600_000)) })
  })
  afterAll(() => h.close())
  beforeEach(() => emptyStores(h))

  const environment = (changed = {}) => ({
    ...h.env,
    NODE_ENV: 'production',
    LOG_LEVEL: undefined,
    ...changed,
  })
  const maintain = (args: string[] = [], changed = {}) =>
    runHere(['maintenance', ...args], environment(changed))

  it('deletes expired tokens, old history events and expired records, prints how many, and then finds none', async () => {
    const [expired, living] = [await makeRoot(h, { endsIn: 300 }), await makeRoot(h, { endsIn: 86_400 })]
    await h.sql(
      `INSERT INTO token_change_history (token, username, token_type, scopes, actor, action, event_time)
       SELECT n::text, 'wren', 'session', '', 'wren', 'create', '2020-01-01' FROM generate_series(1, 2) AS n`,
    )
    expect(await runPorthor(['maintenance'], environment())).toMatchObject({
      code: 0,
      stdout:
        'Removed 1 expired tokens, 2 history events past their retention and 1 records of the token store, and revoked 0 orphaned tokens.\n',
      stderr: '',
    })
    expect(Object.keys(await rowsOf(h, [expired, living]))).toEqual([keyOf(living)])
    expect(await maintain(['--json'])).toMatchObject({
      code: 0,
      stdout: '{"expired":0,"truncated":0,"orphaned":0,"swept":0}\n',
      stderr: '',
    })
  })

  it('with a clock that is wrong by an hour deletes no live token, prints why, and fails', async () => {
    const [token, expired] = [await makeRoot(h, { endsIn: 5_100 }), await makeRoot(h, { endsIn: 300 })]
    const tokens = [token, expired]
    const before = await rowsOf(h, tokens)
    for (const offset of [3_600, -3_600]) {
      const { code, stdout, stderr } = await runPorthorAt(offset, ['maintenance'], environment())
      expect([code, stdout]).toEqual([1, ''])
      expect(faultsIn(stderr)).toEqual([
        expect.stringMatching(/^porthor: The clock of this machine is 3[56]\d\d s /),
      ])
      expect(await rowsOf(h, tokens)).toEqual(before)
    }
  })

  it('with a clock that is ahead by less than a minute removes nothing before its time', async () => {
    const token = await makeRoot(h, { endsIn: 5_100 })
    await h.sql("UPDATE token SET expires = now() AT TIME ZONE 'UTC' + interval '50 s' WHERE token = $1", [
      keyOf(token),
    ])
    await h.sql("UPDATE porthor_token_store SET expires = now() AT TIME ZONE 'UTC' + interval '50 s'")
    const { code, stdout } = await runPorthorAt(58, ['maintenance'], environment())
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^Removed 0 expired .* and 0 records /)])
    expect(Object.keys(await rowsOf(h, [token]))).toEqual([keyOf(token)])
  })

  it('leaves it to another process that is at it already, and that is no fault', async () => {
    const root = await makeRoot(h, { endsIn: 300 })
    const busy = await connect(h)
    await busy.query('SELECT pg_advisory_lock($1)', [await upkeepLock()])
    const [text, json] = [await maintain(), await maintain(['--json'])]

    expect([text.code, json.code, text.stderr, json.stderr]).toEqual([0, 0, '', ''])
    expect([text.stdout, json.stdout]).toEqual([
      'Another process is running maintenance: nothing to do.\n',
      '{"busy":true}\n',
    ])
    expect(Object.keys(await rowsOf(h, [root]))).toEqual([keyOf(root)])
  })

  /** The lock that upkeep takes, as PostgreSQL tells of it while one is held up. */
  async function upkeepLock(): Promise<string> {
    const holding = await connect(h)
    await holding.query('BEGIN')
    await holding.query('LOCK TABLE token IN ACCESS EXCLUSIVE MODE')
    const running = h.context.services.maintenance.run()
    await waitForLocks(h, 1)
    const [lock] = await h.sql<{ id: string }>(
      `SELECT ((classid::bigint << 32) | objid::bigint)::text AS id FROM pg_locks
       WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    )
    await holding.query('ROLLBACK')
    await running
    return lock?.id ?? ''
  }

  it('that cannot run prints why, in one line, and fails', async () => {
    const empty = await emptyDatabase()
    onTestFinished(() => empty.drop())
    const gone = new URL(h.env.DATABASE_URL ?? '')
    gone.port = '1'
    const unmigrated = await runPorthor(['maintenance'], environment({ DATABASE_URL: empty.url }))
    const unreachable = await maintain([], { DATABASE_URL: gone.href })
    const misconfigured = await maintain([], { HISTORY_RETENTION: 'for ever' })
    for (const { code, stdout, stderr } of [unmigrated, unreachable]) {
      expect([code, stdout]).toEqual([1, ''])
      expect(faultsIn(stderr)).toEqual([expect.stringMatching(/^porthor: ./)])
    }
    expect(unmigrated.stderr).toContain('porthor migrate')
    expect(misconfigured.code).toBe(1)
    expect(misconfigured.stderr).toContain('HISTORY_RETENTION')
    expect(misconfigured.stderr).not.toContain('    at ')
  })
})
