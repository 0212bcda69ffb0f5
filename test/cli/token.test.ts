import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, it, vi } from 'vitest'
import { formatToken, generateToken, parseToken } from '../../src/domain/token.ts'
import { generateFernetKey } from '../../src/lib/fernet.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'
import { runPorthor, startPorthor, temporaryDirectory } from '../support/processes/cli.ts'
import { type CommandResult, faultsIn, runHere } from '../support/processes/command.ts'
import { PORTHOR } from '../support/processes/program.ts'
import { askGraphQL } from '../support/requests/graphql.ts'
import { copyUsedDataDir } from '../support/stores/stores.ts'
import { historyOf, keyOf, keysOf, makeRoot, makeTree, rowsOf, storedOf } from '../support/tokens/trees.ts'

// A command in a process of its own takes its time on a busy machine.
vi.setConfig({ testTimeout: 120_000 })

describe('porthor token', () => {
  const t = usePorthor('redis')
  const environment = () => ({ ...t.h.env, NODE_ENV: 'production', LOG_LEVEL: undefined })
  const token = (...args: string[]) => runHere(['token', ...args], environment())
  const inTurn = async (...commands: string[][]): Promise<CommandResult[]> => {
    const outcomes: CommandResult[] = []
    for (const args of commands) outcomes.push(await token(...args))
    return outcomes
  }
  const lines = (text: string) => text.trimEnd().split('\n')
  const objects = (text: string) => lines(text).map((line) => JSON.parse(line))

  it('create prints the bearer string of a token that acts, and history knows the operator', async () => {
    const args = ['token', 'create', 'session', 'wren', '--scope', 'user:token', 'read:all']
    const session = await runPorthor(args, environment())
    expect([session.code, session.stderr]).toEqual([0, ''])
    expect(session.stdout).toMatch(/^gt-[\w-]{22}\.[\w-]{22}\n$/)
    const bearer = session.stdout.trim()
    expect(await t.h.stored(bearer)).toMatchObject({
      type: 'session',
      username: 'wren',
      scopes: ['read:all', 'user:token'],
    })
    const changes = await t.h.sql('SELECT actor, ip_address FROM token_change_history WHERE token = $1', [
      parseToken(bearer).key,
    ])
    expect(changes).toEqual([{ actor: '<internal>', ip_address: null }])
  })

  it('create accepts a name, and a time or a duration for the expiry', async () => {
    const user = await token('create', 'user', 'wren', '--name', 'laptop', '--expires', '30d', '--json')
    const made = JSON.parse(user.stdout)
    expect(made).toMatchObject({
      key: parseToken(made.token).key,
      type: 'user',
      username: 'wren',
      scopes: [],
    })
    const data = await t.h.stored(made.token)
    const days = ((data.expiresAt?.getTime() ?? 0) - data.createdAt.getTime()) / 86_400_000
    // From when the command was read, which may be a second before the token was made.
    expect(days).toBeCloseTo(30, 3)

    const times = [
      '2100-01-31T12:00:00',
      '2100-01-31T12:00:00Z',
      '2100-01-31T13:00+01:00',
      '2100-01-31T12:00:00.900Z',
    ]
    for (const time of times) {
      const { stdout } = await token('create', 'service', 'bot-ci', '--expires', time, '--scope', 'read:all')
      expect((await t.h.stored(stdout.trim())).expiresAt, time).toEqual(new Date('2100-01-31T12:00:00Z'))
    }
  })

  it('create refuses what the API would refuse, and options that would do nothing', async () => {
    const before = await t.h.sql('SELECT token FROM token')
    const outcomes = await inTurn(
      ['create', 'user', 'wren'],
      ['create', 'user', 'wren', '--name', ''],
      ['create', 'service', 'wren'],
      ['create', 'session', 'wren', '--scope', 'nope'],
      ['create', 'session', 'wren', '--expires', '1d'],
      ['create', 'service', 'bot-ci', '--name', 'laptop'],
    )
    expect(outcomes.map(({ code }) => code)).toEqual([2, 1, 1, 1, 2, 2])
    for (const { stdout, stderr } of outcomes) {
      expect(stdout).toBe('')
      expect(faultsIn(stderr)).toEqual([expect.stringMatching(/^porthor: ./)])
    }
    const culprits = outcomes.map(({ stderr }) => /tokenName|bot-|nope|--expires|--name/.exec(stderr)?.[0])
    expect(culprits).toEqual(['--name', 'tokenName', 'bot-', 'nope', '--expires', '--name'])
    const misused = await inTurn(
      ['create', 'internal', 'wren'],
      ['create', 'service', 'bot-ci', '--expires', 'tomorrow'],
      ['create', 'service', 'bot-ci', '--expires', '50'],
      ['list', '--limit', '501'],
      ['revoke', '--created-before', '7'],
    )
    expect(misused.map(({ code }) => code)).toEqual([2, 2, 2, 2, 2])
    expect(await t.h.sql('SELECT token FROM token')).toEqual(before)
  })

  it('list prints what matches, newest first, as a table or as a JSON object a line', async () => {
    const { root, child, notebook, grandchild } = await makeTree(t.h, { tokenName: 'laptop' })
    const mine = ['list', '--username', root.username]
    const [table, json, internal, limited, none] = await inTurn(
      mine,
      [...mine, '--limit', '4', '--json'],
      [...mine, '--type', 'internal', '--json'],
      [...mine, '--limit', '3', '--json'],
      ['list', '--username', 'nobody', '--json'],
    )
    const [heading, ...rows] = lines(table?.stdout ?? '')
    expect(heading).toMatch(/^KEY +USERNAME +TYPE +NAME +SERVICE +SCOPES +CREATED +EXPIRES$/)
    const listed = objects(json?.stdout ?? '')
    expect(rows.map((line) => line.split(' ')[0])).toEqual(listed.map(({ key }) => key))
    expect(listed.map(({ key }) => key).sort()).toEqual(keysOf([root, child, notebook, grandchild]).sort())
    expect(listed.find(({ key }) => key === keyOf(child))).toEqual({
      key: keyOf(child),
      username: root.username,
      type: 'internal',
      tokenName: null,
      service: 'portal',
      scopes: ['read:all', 'read:tap'],
      createdAt: child.createdAt.toISOString(),
      lastUsedAt: null,
      expiresAt: child.expiresAt?.toISOString(),
    })
    expect(lines(internal?.stdout ?? '')).toHaveLength(2)
    expect(lines(limited?.stdout ?? '')).toHaveLength(3)
    expect(limited?.stderr).toBe('porthor: Only the newest 3 are shown: see --limit and --username.\n')
    expect([table?.stderr, json?.stderr]).toEqual(['', ''])
    expect(none).toEqual({ code: 0, stdout: '', stderr: '' })
  })

  it.each([
    [{ REDIS_URL: 'redis://127.0.0.1:1' }, 'Redis is unavailable. Please try again.'],
    [
      { DATABASE_URL: 'postgresql://porthor@127.0.0.1:1/none' },
      'Cannot connect to PostgreSQL at 127.0.0.1:1/none as porthor: connect ECONNREFUSED 127.0.0.1:1',
    ],
  ])('names the store that is unavailable for %o', async (changed, error) => {
    const create = ['token', 'create', 'session', 'wren']
    const { code, stdout, stderr } = await runHere(create, { ...environment(), ...changed })
    expect([code, stdout, stderr]).toEqual([1, '', `porthor: ${error}\n`])
  })

  it('create creates nothing with the encryption key of another store', async () => {
    await makeRoot(t.h)
    const before = await t.h.sql('SELECT token FROM token')
    const other = { ...environment(), SESSION_SECRET: generateFernetKey() }
    const { code, stdout, stderr } = await runHere(['token', 'create', 'session', 'wren'], other)
    expect([code, stdout, stderr]).toEqual([
      1,
      '',
      'porthor: No record of the token store can be read with a key of SESSION_SECRET, so nothing was created: set the keys of the server. If these are lost, empty the token store first.\n',
    ])
    expect(await t.h.sql('SELECT token FROM token')).toEqual(before)
  })

  it('list whose reader has seen enough, such as head, is no fault', async () => {
    await makeRoot(t.h)
    const child = spawn(process.execPath, [PORTHOR, 'token', 'list'], {
      env: { PATH: process.env.PATH, ...environment() },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout.destroy()
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    const [code] = await once(child, 'close')
    expect([code, faultsIn(stderr)]).toEqual([0, []])
  })

  it('show prints a token, its parent, its children and its history', async () => {
    const { root, child, grandchild } = await makeTree(t.h)
    const text = await token('show', keyOf(child))
    const [facts, parent, children, history] = text.stdout.split(/\n\n(?:Parent|Children|History)\n/)
    expect(facts).toMatch(new RegExp(`^key +${keyOf(child)}\n`))
    expect(parent).toContain(keyOf(root))
    expect(children).toContain(keyOf(grandchild))
    expect(history).toMatch(/^TIME .*\n\S+ +create +user-\S+ +192\.0\.2\.20 +read:all,read:tap +\S+\n$/)

    const json = await token('show', keyOf(child), '--json')
    expect(JSON.parse(json.stdout)).toMatchObject({
      key: keyOf(child),
      scopes: ['read:all', 'read:tap'],
      parent: { key: keyOf(root), scopes: root.scopes },
      children: [{ key: keyOf(grandchild), scopes: ['read:all'] }],
      changes: [{ action: 'create', scopes: ['read:all', 'read:tap'], oldScopes: null, parent: keyOf(root) }],
    })
    const missing = await token('show', 'nope')
    expect([missing.code, missing.stdout]).toEqual([1, ''])
    expect(faultsIn(missing.stderr)).toEqual([
      expect.stringMatching(/^porthor: There is no token with the key "nope"/),
    ])
  })

  it('revoke revokes a tree, or what matches, or only counts', async () => {
    const [one, two] = [await makeTree(t.h), await makeTree(t.h)]
    const { username } = two.root
    const dry = await token('revoke', '--username', username, '--dry-run')
    expect(dry).toEqual({ code: 0, stdout: 'Would revoke 4 tokens.\n', stderr: '' })
    expect(await storedOf(t.h, 'redis', Object.values(two))).toHaveLength(4)

    const byKey = await runPorthor(['token', 'revoke', keyOf(one.root), '--json'], environment())
    expect(byKey).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(byKey.stdout)).toEqual({ count: 4, keys: expect.any(Array) })
    expect(JSON.parse(byKey.stdout).keys.at(-1)).toBe(keyOf(one.root))
    const byFilter = await token('revoke', '--username', username, '--service', 'tap')
    expect(byFilter).toMatchObject({ code: 0, stdout: 'Revoked 1 token.\n' })
    expect(await rowsOf(t.h, [...Object.values(one), two.grandchild])).toEqual({})
    expect(await storedOf(t.h, 'redis', Object.values(two))).toEqual([two.root, two.child, two.notebook])
    const [revoked] = await historyOf(t.h, [one.root], 'revoke')
    expect(revoked).toMatchObject({ actor: '<internal>', ip_address: null })
  })

  it('revoke revokes nothing without a criterion, or with a key and criteria', async () => {
    const root = await makeRoot(t.h)
    const outcomes = await inTurn(
      ['revoke'],
      ['revoke', '--dry-run'],
      ['revoke', keyOf(root), '--dry-run'],
      ['revoke', keyOf(root), '--username', root.username],
    )
    for (const { code, stdout, stderr } of outcomes) {
      expect([code, stdout]).toEqual([2, ''])
      expect(faultsIn(stderr)).toEqual([expect.stringMatching(/^porthor: ./)])
    }
    expect(await storedOf(t.h, 'redis', [root])).toEqual([root])
  })

  it('revoke --created-before accepts a time, by default in UTC, or an age', async () => {
    const old = await makeRoot(t.h)
    await t.h.sql(`UPDATE token SET created = '2020-06-01' WHERE token = $1`, [keyOf(old)])
    const counted = [
      '2020-06-01',
      '2020-06-01T00:00',
      '2020-06-01T00:00:01',
      '2020-06-01T01:00:01+01:00',
      '30d',
      '5200w',
    ]
    const outcomes = await inTurn(
      ...counted.map((when) => [
        'revoke',
        '--username',
        old.username,
        '--created-before',
        when,
        '--dry-run',
        '--json',
      ]),
    )
    expect(outcomes.map(({ stdout }) => JSON.parse(stdout).count)).toEqual([0, 0, 1, 1, 1, 0])
  })

  it('refuses a bearer string as a token key, prints what to give, and never prints the string', async () => {
    const made = generateToken()
    const bearer = formatToken(made)
    const asKeys = await inTurn(['show', bearer], ['revoke', bearer], ['revoke', '--ancestor', bearer])
    for (const { code, stderr } of asKeys) {
      expect(code).toBe(2)
      expect(stderr).toContain('Give a token key: the 22 characters between gt- and the dot.')
    }
    const elsewhere = await inTurn([bearer], ['create', 'session', 'wren', '--scope', bearer])
    for (const { code, stdout, stderr } of [...asKeys, ...elsewhere]) {
      expect([code === 0, stdout]).toEqual([false, ''])
      expect(stderr).toContain('gt-…')
      expect(stderr).not.toContain(made.secret)
    }
  })

  it.each(['-', '--', '-V', '-h'])(
    'accepts a token key that begins with %s, and does not take an option for one',
    async (start) => {
      const root = await makeRoot(t.h)
      const key = start.padEnd(22, 'x')
      await t.h.sql('UPDATE token SET token = $2 WHERE token = $1', [keyOf(root), key])
      const [shown, counted, misspelt, revoked] = await inTurn(
        ['show', key, '--json'],
        ['revoke', '--ancestor', key, '--dry-run', '--json'],
        ['revoke', '--dry-rn', '--username', root.username],
        ['revoke', key],
      )
      expect(JSON.parse(shown?.stdout ?? '')).toMatchObject({ key, username: root.username })
      expect(JSON.parse(counted?.stdout ?? '')).toMatchObject({ count: 0 })
      expect(misspelt).toMatchObject({ code: 2, stdout: '' })
      expect(revoked).toMatchObject({ code: 0, stdout: 'Revoked 1 token.\n' })
    },
  )

  it('--help lists every command and option', async () => {
    const [all, revoke] = await inTurn(['--help'], ['revoke', '--help'])
    expect([all?.code, revoke?.code]).toEqual([0, 0])
    for (const command of ['create', 'list', 'show', 'revoke']) {
      expect(all?.stdout).toMatch(new RegExp(`^ {2}${command} .*\\S`, 'm'))
    }
    for (const option of ['username', 'service', 'type', 'ancestor', 'created-before', 'dry-run', 'json']) {
      expect(revoke?.stdout).toMatch(new RegExp(`^ {2}--${option} +.*\\S`, 'm'))
    }
  })
})

it('token and migrate work beside a server with the embedded database, and leave it running', async () => {
  const env = { DATA_DIR: await temporaryDirectory(), PORT: '0' }
  await copyUsedDataDir(env.DATA_DIR)
  const server = startPorthor(['serve'], env)
  const [, url = ''] = await server.prints(/Porthor is listening: +(\S+)/)
  const created = await runPorthor(['token', 'create', 'session', 'wren', '--scope', 'user:token'], env)
  expect([created.code, created.stderr]).toEqual([0, ''])
  const bearer = created.stdout.trim()
  const viewer = '{ viewer { user { username } } }'

  const answer = await askGraphQL(url, viewer, { token: bearer })
  expect(answer).toMatchObject({ data: { viewer: { user: { username: 'wren' } } } })
  const revoked = await runPorthor(['token', 'revoke', parseToken(bearer).key, '--json'], env)
  expect(JSON.parse(revoked.stdout)).toEqual({ count: 1, keys: [parseToken(bearer).key] })
  expect(await askGraphQL(url, viewer, { token: bearer })).toMatchObject({ code: 'UNAUTHENTICATED' })
  const migrated = await runPorthor(['migrate'], env)
  expect(migrated).toEqual(expect.objectContaining({ code: 0, stderr: '' }))
  expect(migrated.stdout).toContain('The database is up to date.\n')
  expect(await server.stop()).toMatchObject({ code: 0 })
})
