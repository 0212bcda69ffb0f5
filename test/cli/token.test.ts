import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, vi } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { useApi } from '../support/api.ts'
import { runPorthor, startPorthor, temporaryDirectory } from '../support/cli.ts'
import { askGraphQL } from '../support/harness.ts'
import { historyOf, keyOf, keysOf, makeRoot, makeTree, rowsOf, storedOf } from '../support/trees.ts'

// Each command is a process of its own, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 120_000 })

describe('porthor token', () => {
  const t = useApi('redis')
  const token = (...args: string[]) => runPorthor(['token', ...args], { ...t.h.env, NODE_ENV: 'production' })
  const lines = (text: string) => text.trimEnd().split('\n')

  it('create prints the bearer string of a token that acts, and history knows the operator', async () => {
    const [session, user, service] = await Promise.all([
      token('create', 'session', 'wren', '--scope', 'user:token', 'read:all'),
      token('create', 'user', 'wren', '--name', 'laptop', '--expires', '30d', '--json'),
      token('create', 'service', 'bot-ci', '--expires', '2100-01-31T12:00:00', '--scope', 'read:all'),
    ])
    for (const { code, stderr } of [session, user, service]) expect([code, stderr]).toEqual([0, ''])
    const { key } = parseToken(session.stdout.trim())
    expect(await t.h.stored(session.stdout.trim())).toMatchObject({
      type: 'session',
      username: 'wren',
      scopes: ['read:all', 'user:token'],
    })
    expect(
      await t.h.sql('SELECT actor, ip_address FROM token_change_history WHERE token = $1', [key]),
    ).toEqual([{ actor: '<internal>', ip_address: null }])
    const made = JSON.parse(user.stdout)
    expect(made).toMatchObject({
      key: parseToken(made.token).key,
      type: 'user',
      username: 'wren',
      scopes: [],
    })
    const data = await t.h.stored(made.token)
    expect((data.expiresAt?.getTime() ?? 0) - data.createdAt.getTime()).toBe(30 * 86_400_000)
    expect(await t.h.stored(service.stdout.trim())).toMatchObject({
      type: 'service',
      expiresAt: new Date('2100-01-31T12:00:00Z'),
    })
  })

  it('create refuses what the API would refuse, and options that would do nothing, in one line', async () => {
    const before = await t.h.sql('SELECT token FROM token')
    const outcomes = await Promise.all([
      token('create', 'user', 'wren'),
      token('create', 'service', 'wren'),
      token('create', 'session', 'wren', '--scope', 'nope'),
      token('create', 'session', 'wren', '--expires', '1d'),
      token('create', 'service', 'bot-ci', '--name', 'laptop'),
    ])
    for (const { code, stdout, stderr } of outcomes) {
      expect([code, stdout]).toEqual([1, ''])
      expect(stderr).toMatch(/^porthor: .+\n$/)
    }
    expect(outcomes.map(({ stderr }) => /tokenName|bot-|nope|--expires|--name/.exec(stderr)?.[0])).toEqual([
      'tokenName',
      'bot-',
      'nope',
      '--expires',
      '--name',
    ])
    const misused = await Promise.all([
      token('create', 'internal', 'wren'),
      token('create', 'service', 'bot-ci', '--expires', 'tomorrow'),
      token('create', 'service', 'bot-ci', '--expires', '50'),
      token('list', '--limit', '501'),
    ])
    expect(misused.map(({ code }) => code)).toEqual([2, 2, 2, 2])
    expect(await t.h.sql('SELECT token FROM token')).toEqual(before)
  })

  it('list prints a table, or a JSON object a line, newest first, of what is asked for', async () => {
    const { root, child, notebook, grandchild } = await makeTree(t.h, { tokenName: 'laptop' })
    const mine = ['--username', root.username]
    const [table, json, internal, limited, none] = await Promise.all([
      token('list', ...mine),
      token('list', ...mine, '--json'),
      token('list', ...mine, '--type', 'internal', '--json'),
      token('list', '--limit', '1', '--json'),
      token('list', '--username', 'nobody', '--json'),
    ])
    expect(lines(table.stdout)[0]).toMatch(/^KEY +USERNAME +TYPE +NAME +SERVICE +SCOPES +CREATED +EXPIRES$/)
    const listed = lines(json.stdout).map((line) => JSON.parse(line))
    expect(
      lines(table.stdout)
        .slice(1)
        .map((line) => line.split(' ')[0]),
    ).toEqual(listed.map(({ key }) => key))
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
    expect(lines(internal.stdout)).toHaveLength(2)
    expect(lines(limited.stdout)).toHaveLength(1)
    expect(none).toMatchObject({ code: 0, stdout: '' })
  })

  it('show tells of a token, its parent, its children and its history', async () => {
    const { root, child, grandchild } = await makeTree(t.h)
    const [text, json, missing] = await Promise.all([
      token('show', keyOf(child)),
      token('show', keyOf(child), '--json'),
      token('show', 'nope'),
    ])
    const [facts, parent, children, history] = text.stdout.split(/\n\n(?:Parent|Children|History)\n/)
    expect(facts).toMatch(new RegExp(`^key +${keyOf(child)}\n`))
    expect(parent).toContain(keyOf(root))
    expect(children).toContain(keyOf(grandchild))
    expect(history).toMatch(/^TIME .*\n.* create +user-\S+ +192\.0\.2\.20 +read:all,read:tap +2\S+\n$/)
    expect(JSON.parse(json.stdout)).toMatchObject({
      key: keyOf(child),
      scopes: ['read:all', 'read:tap'],
      parent: { key: keyOf(root), scopes: root.scopes },
      children: [{ key: keyOf(grandchild), scopes: ['read:all'] }],
      changes: [{ action: 'create', scopes: ['read:all', 'read:tap'], oldScopes: null, parent: keyOf(root) }],
    })
    expect([missing.code, missing.stdout]).toEqual([1, ''])
    expect(missing.stderr).toMatch(/^porthor: There is no token "nope".+\n$/)
  })

  it('revoke ends a tree, or what matches, or only counts', async () => {
    const [one, two] = [await makeTree(t.h), await makeTree(t.h)]
    const { username } = two.root
    expect(await token('revoke', '--username', username, '--dry-run')).toMatchObject({
      code: 0,
      stdout: 'Would revoke 4 tokens.\n',
    })
    expect(await storedOf(t.h, 'redis', Object.values(two))).toHaveLength(4)
    const [byKey, byFilter] = await Promise.all([
      token('revoke', keyOf(one.root), '--json'),
      token('revoke', '--username', username, '--service', 'tap'),
    ])
    expect(JSON.parse(byKey.stdout)).toMatchObject({
      count: 4,
      keys: expect.arrayContaining([keyOf(one.root)]),
    })
    expect(byFilter).toMatchObject({ code: 0, stdout: 'Revoked 1 tokens.\n' })
    expect(await rowsOf(t.h, [...Object.values(one), two.grandchild])).toEqual({})
    expect(await storedOf(t.h, 'redis', Object.values(two))).toEqual([two.root, two.child, two.notebook])
    expect(await historyOf(t.h, [one.root], 'revoke')).toMatchObject([
      { actor: '<internal>', ip_address: null },
    ])
  })

  it('revoke refuses to guess: no criterion, or a key and criteria, end nothing', async () => {
    const root = await makeRoot(t.h)
    const outcomes = await Promise.all([
      token('revoke'),
      token('revoke', '--dry-run'),
      token('revoke', keyOf(root), '--dry-run'),
      token('revoke', keyOf(root), '--username', root.username),
    ])
    for (const { code, stdout, stderr } of outcomes) {
      expect([code, stdout]).toEqual([1, ''])
      expect(stderr).toMatch(/^porthor: .+\n$/)
    }
    expect(await token('revoke', '--created-before', '7')).toMatchObject({ code: 2 })
    expect(await storedOf(t.h, 'redis', [root])).toEqual([root])
  })

  it('revoke --created-before takes a time or an age', async () => {
    const old = await makeRoot(t.h)
    await t.h.sql(`UPDATE token SET created = '2020-06-01' WHERE token = $1`, [keyOf(old)])
    const count = async (when: string) => {
      const { stdout } = await token(
        'revoke',
        '--username',
        old.username,
        '--created-before',
        when,
        '--dry-run',
        '--json',
      )
      return JSON.parse(stdout).count
    }
    expect(await Promise.all(['2020-06-01', '2020-06-01T00:00:01', '30d', '5200w'].map(count))).toEqual([
      0, 1, 1, 0,
    ])
  })

  it('list whose reader has seen enough, such as head, is no fault', async () => {
    const child = spawn(
      process.execPath,
      [
        '--import',
        import.meta.resolve('tsx'),
        fileURLToPath(new URL('../../src/main.ts', import.meta.url)),
        'token',
        'list',
      ],
      {
        env: { PATH: process.env.PATH, ...t.h.env, NODE_ENV: 'production' },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    child.stdout.destroy()
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    await makeRoot(t.h)
    const [code] = await once(child, 'close')
    expect([code, stderr]).toEqual([0, ''])
  })

  it('--help tells every command and option', async () => {
    const [all, revoke] = await Promise.all([token('--help'), token('revoke', '--help')])
    expect(all.code).toBe(0)
    for (const command of ['create', 'list', 'show', 'revoke']) {
      expect(all.stdout).toMatch(new RegExp(`^ {2}${command} .*\\S`, 'm'))
    }
    for (const option of ['username', 'service', 'type', 'ancestor', 'created-before', 'dry-run', 'json']) {
      expect(revoke.stdout).toMatch(new RegExp(`^ {2}--${option} +.*\\S`, 'm'))
    }
  })
})

it('porthor token works beside a server with the embedded database, on the same tokens, and leaves it running', async () => {
  const env = { DATA_DIR: await temporaryDirectory(), PORT: '0' }
  const server = startPorthor(['serve'], env)
  const [, url = ''] = await server.prints(/Porthor is listening: +(\S+)/)
  const created = await runPorthor(['token', 'create', 'session', 'wren', '--scope', 'user:token'], env)
  expect([created.code, created.stderr]).toEqual([0, ''])
  const bearer = created.stdout.trim()
  const viewer = '{ viewer { user { username } } }'

  expect(await askGraphQL(url, viewer, { token: bearer })).toMatchObject({
    data: { viewer: { user: { username: 'wren' } } },
  })
  const revoked = await runPorthor(['token', 'revoke', parseToken(bearer).key, '--json'], env)
  expect(JSON.parse(revoked.stdout)).toEqual({ count: 1, keys: [parseToken(bearer).key] })
  expect(await askGraphQL(url, viewer, { token: bearer })).toMatchObject({ code: 'UNAUTHENTICATED' })
  expect(await server.stop()).toMatchObject({ code: 0 })
})
