import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { generateFernetKey } from '../../src/lib/fernet.ts'
import { openPorthor, type Porthor } from '../support/porthor/porthor.ts'
import { runPorthor, temporaryDirectory } from '../support/processes/cli.ts'
import { faultsIn, runHere } from '../support/processes/command.ts'
import {
  dropEntry,
  emptyStores,
  keyOf,
  makeRoot,
  makeTree,
  rowsOf,
  storedOf,
} from '../support/tokens/trees.ts'
import { TestClock } from '../support/waiting/test-clock.ts'

// Each command is a process of its own, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 120_000 })

describe('porthor audit', () => {
  let h: Porthor
  // Commands go by the machine's clock: what this Porthor makes was made an hour ago, and is settled.
  beforeAll(async () => {
    h = await openPorthor({ store: 'redis', clock: new TestClock(new Date(Date.now() - 3_600_000)) })
  })
  afterAll(() => h.close())
  beforeEach(() => emptyStores(h))

  const environment = (changed = {}) => ({
    ...h.env,
    NODE_ENV: 'production',
    LOG_LEVEL: undefined,
    ...changed,
  })
  const audit = (args: string[] = [], changed = {}) => runHere(['audit', ...args], environment(changed))

  it('of stores that agree exits with 0 and reports no finding, and prints nothing as JSON', async () => {
    await makeTree(h)
    const [text, json] = [await audit(), await audit(['--json'])]
    expect(text).toMatchObject({ code: 0, stdout: 'The stores agree.\n', stderr: '' })
    expect(json).toMatchObject({ code: 0, stdout: '', stderr: '' })
  })

  it('prints a line for each finding, exits with 1, and fixes nothing without --fix', async () => {
    const [missing, stray] = [await makeRoot(h), await makeRoot(h)]
    await dropEntry(h, 'redis', missing)
    await h.sql('DELETE FROM token WHERE token = $1', [keyOf(stray)])
    const text = await audit()
    const json = await runPorthor(['audit', '--json'], environment())

    expect(text).toMatchObject({
      code: 1,
      stdout: [
        `db-only  ${keyOf(missing)}  ${missing.username}  not in the token store`,
        `redis-only  ${keyOf(stray)}  ${stray.username}  not in the database`,
        '2 findings, 0 fixed.\n',
      ].join('\n'),
      stderr: '',
    })
    expect(json).toMatchObject({ code: 1, stderr: '' })
    expect(
      json.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual([
      {
        kind: 'db-only',
        key: keyOf(missing),
        username: missing.username,
        detail: 'not in the token store',
        isFixed: false,
      },
      {
        kind: 'redis-only',
        key: keyOf(stray),
        username: stray.username,
        detail: 'not in the database',
        isFixed: false,
      },
    ])
    expect(await storedOf(h, 'redis', [stray])).toEqual([stray])
  })

  it('--fix fixes, prints what, and exits with 0 when nothing is left, as does the next audit', async () => {
    const [missing, stray] = [await makeRoot(h), await makeRoot(h)]
    await dropEntry(h, 'redis', missing)
    await h.sql('DELETE FROM token WHERE token = $1', [keyOf(stray)])

    expect(await runPorthor(['audit', '--fix'], environment())).toMatchObject({
      code: 0,
      stdout: [
        `db-only  ${keyOf(missing)}  ${missing.username}  not in the token store  (fixed)`,
        `redis-only  ${keyOf(stray)}  ${stray.username}  not in the database  (fixed)`,
        '2 findings, 2 fixed.\n',
      ].join('\n'),
    })
    expect(await storedOf(h, 'redis', [stray])).toEqual([])
    expect(await audit()).toMatchObject({ code: 0, stdout: 'The stores agree.\n' })
  })

  it('--fix exits with 1 when something is left that people must look at', async () => {
    const [missing, renamed] = [await makeRoot(h), await makeRoot(h)]
    await dropEntry(h, 'redis', missing)
    await h.sql(`UPDATE token SET username = 'robin' WHERE token = $1`, [keyOf(renamed)])
    const { code, stdout } = await audit(['--fix', '--json'])

    expect(code).toBe(1)
    const findings = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(findings.map(({ kind, isFixed }) => [kind, isFixed]).sort()).toEqual([
      ['db-only', true],
      ['mismatch', false],
    ])
    expect((await rowsOf(h, [renamed]))[keyOf(renamed)]).toMatchObject({ username: 'robin' })
  })

  it('escapes in its lines, and not in JSON, what would control the terminal', async () => {
    const root = await makeRoot(h)
    const username = '\x1b[2Kwren\nThe stores agree.'
    await h.sql('UPDATE token SET username = $2 WHERE token = $1', [keyOf(root), username])
    const [text, json] = [await audit(), await audit(['--json'])]
    expect(text.stdout).toBe(
      `mismatch  ${keyOf(root)}  \\u001b[2Kwren\\u000aThe stores agree.  username\n1 finding, 0 fixed.\n`,
    )
    expect(JSON.parse(json.stdout)).toMatchObject({ username })
  })

  it('--fix with the encryption key of another store fixes nothing, and exits with 2', async () => {
    const root = await makeRoot(h)
    const before = await rowsOf(h, [root])
    const { code, stdout, stderr } = await audit(['--fix'], { SESSION_SECRET: generateFernetKey() })
    expect([code, stdout]).toEqual([2, ''])
    expect(faultsIn(stderr)).toEqual([expect.stringMatching(/^porthor: No record .* SESSION_SECRET/)])
    expect(await storedOf(h, 'redis', [root])).toEqual([root])
    expect(await rowsOf(h, [root])).toEqual(before)
  })

  it('with the encryption key of another store reports each token, and why', async () => {
    const root = await makeRoot(h)
    const other = environment({ SESSION_SECRET: generateFernetKey() })
    const { code, stdout, stderr } = await runPorthor(['audit'], other)
    expect([code, stdout]).toEqual([
      1,
      [
        `malformed  ${keyOf(root)}  ${root.username}  not signed with any of the keys`,
        `db-only  ${keyOf(root)}  ${root.username}  not in the token store`,
        '2 findings, 0 fixed.\n',
      ].join('\n'),
    ])
    expect(stderr).toContain('records of the token store cannot be read with the keys of SESSION_SECRET')
    expect(stderr).toContain('1 record cannot be read, and is kept.')
  })

  it('in development generates no key for a given database, and uses none that was generated for another one', async () => {
    const dataDir = await temporaryDirectory()
    const changed = { NODE_ENV: undefined, SESSION_SECRET: '', DATA_DIR: dataDir }
    await makeRoot(h)
    const { code, stdout, stderr } = await audit(['--fix'], changed)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(/SESSION_SECRET is required: /)
    expect(await readdir(dataDir)).toEqual([])

    await writeFile(join(dataDir, 'session-secret'), `${h.env.SESSION_SECRET}\n`, { mode: 0o600 })
    expect(await audit(['--fix'], changed)).toMatchObject({ code: 2, stdout: '' })
  })

  it('that cannot run prints why, in one line, and exits with 2', async () => {
    const gone = new URL(h.env.DATABASE_URL ?? '')
    gone.port = '1'
    const outcomes = [
      await runPorthor(['audit'], environment({ DATABASE_URL: gone.href })),
      await audit([], { REDIS_URL: 'redis://127.0.0.1:1' }),
      await audit([], { SESSION_SECRET: 'short' }),
      await audit(['--mend']),
    ]
    for (const { code, stdout, stderr } of outcomes) {
      expect([code, stdout]).toEqual([2, ''])
      expect(stderr).not.toContain('    at ')
    }
    expect(faultsIn(outcomes[0]?.stderr)).toEqual([expect.stringMatching(/^porthor: ./)])
    expect(outcomes[3]?.stderr).toMatch(/^error: unknown option '--mend'\n/)
  })
})
