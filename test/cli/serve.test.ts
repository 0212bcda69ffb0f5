import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { Environment } from '../../src/config/config.ts'
import { formatToken, generateToken, parseToken } from '../../src/domain/token.ts'
import { generateFernetKey } from '../../src/lib/fernet.ts'
import {
  type CliProcess,
  isAlive,
  runPorthor,
  startPorthor,
  temporaryDirectory,
} from '../support/processes/cli.ts'
import { PORTHOR } from '../support/processes/program.ts'
import { serverSecrets } from '../support/processes/server-process.ts'
import { askGraphQL } from '../support/requests/graphql.ts'
import { freshDatabase, freshRedis } from '../support/stores/stores.ts'

const VIEWER = '{ viewer { user { username } } }'
const INTERNAL = 'mutation { internalToken(service: "tap") { token source } }'

/** Starts a server in development on a free port. */
const serve = (env: Environment, cwd?: string): CliProcess =>
  startPorthor(['serve'], { PORT: '0', ...env }, cwd === undefined ? {} : { cwd })

/** What a server in development prints when it listens, piece by piece. */
async function readWelcome(server: CliProcess) {
  const [welcome] = await server.prints(/ {2}Porthor is listening:[\s\S]*?\n {2}curl [\s\S]*?\n\n/)
  const line = (label: string) => new RegExp(`^ {2}${label}: +(.*)$`, 'm').exec(welcome)?.[1] ?? ''
  const url = /^\S+/.exec(line('Porthor is listening'))?.[0] ?? ''
  return {
    url,
    data: line('Data'),
    bootstrapToken: line('Bootstrap token'),
    command: welcome.slice(welcome.indexOf('  curl')),
  }
}

/** Runs a command as if it were pasted into a terminal, in a directory of its own. */
async function paste(command: string, env: Environment = {}): Promise<string> {
  const cwd = await temporaryDirectory()
  // A machine without curl has one that does the same here.
  if (spawnSync('curl', ['--version']).error) await symlink(STAND_IN_FOR_CURL, join(cwd, 'curl'))
  const shell = spawn('bash', ['-c', command], {
    cwd,
    env: { PATH: `${process.env.PATH}:${cwd}`, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  shell.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  await once(shell, 'close')
  return output
}

const STAND_IN_FOR_CURL = fileURLToPath(new URL('../support/processes/curl.mjs', import.meta.url))

const sessionIn = (answer: string): string =>
  (JSON.parse(answer) as { data: { createSessionToken: { token: string } } }).data.createSessionToken.token

const postmasterOf = async (dataDir: string): Promise<number> =>
  Number.parseInt(await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8'), 10)

// Each command is a process of its own, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 240_000 })

describe('porthor serve in development', () => {
  it('prints all that a new user needs, keeps it over a restart, and stops without a trace', async () => {
    // What a shell would take apart.
    const dataDir = join(await temporaryDirectory(), "it's my $HOME")
    const first = serve({ DATA_DIR: dataDir })
    const welcome = await readWelcome(first)
    expect(welcome).toMatchObject({
      url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/graphql$/),
      data: `${dataDir} (embedded PostgreSQL)`,
      bootstrapToken: join(dataDir, 'bootstrap-token'),
    })
    const session = sessionIn(await paste(welcome.command))
    const made = await askGraphQL(welcome.url, INTERNAL, { token: session })
    expect(made.data).toMatchObject({ internalToken: { source: 'NEW' } })

    for (const name of ['bootstrap-token', 'session-secret', 'postgres-password']) {
      const { mode } = await stat(join(dataDir, name))
      expect([name, (mode & 0o777).toString(8)]).toEqual([name, '600'])
    }

    const postmaster = await postmasterOf(dataDir)
    expect(isAlive(postmaster)).toBe(true)
    const refused = await runPorthor(['serve'], { DATA_DIR: dataDir, PORT: '0' })
    expect([refused.code, refused.stdout]).toEqual([1, ''])
    expect(refused.stderr).toBe(
      `porthor: Another Porthor is using ${dataDir}, pid ${first.pid}: stop it, set DATA_DIR to a different directory for each, or set DATABASE_URL for both.\n`,
    )
    expect((await askGraphQL(welcome.url, VIEWER, { token: session })).errors).toEqual([])

    expect(await first.stop('SIGINT')).toMatchObject({ code: 0, signal: null, stderr: '' })
    expect(isAlive(postmaster)).toBe(false)

    const second = serve({ DATA_DIR: dataDir })
    const again = await readWelcome(second)
    expect((await askGraphQL(again.url, VIEWER, { token: session })).data).toEqual({
      viewer: { user: { username: 'wren' } },
    })
    const found = await askGraphQL(again.url, INTERNAL, { token: session })
    expect(found.data).toEqual({
      internalToken: { ...(made.data?.internalToken as object), source: 'DATABASE' },
    })
    expect(sessionIn(await paste(again.command))).not.toBe(session)
    const secondPostmaster = await postmasterOf(dataDir)
    expect(await second.stop('SIGTERM')).toMatchObject({ code: 0, signal: null, stderr: '' })
    expect(isAlive(secondPostmaster)).toBe(false)

    const { secret } = parseToken(
      await readFile(join(dataDir, 'bootstrap-token'), 'utf8').then((text) => text.trim()),
    )
    const sessionSecret = (await readFile(join(dataDir, 'session-secret'), 'utf8')).trim()
    const password = (await readFile(join(dataDir, 'postgres-password'), 'utf8')).trim()
    for (const text of [secret, sessionSecret, password, parseToken(session).secret]) {
      expect(first.stdout() + second.stdout()).not.toContain(text)
    }
  })

  it('keeps its data in .porthor of the current directory, and stops while it is still starting', async () => {
    const cwd = await temporaryDirectory()
    const server = serve({}, cwd)
    const [, pid] = await server.prints(/"pid":(\d+).*embedded PostgreSQL is ready/)
    expect(await server.stop('SIGINT')).toMatchObject({ code: 0, stderr: '' })
    expect(isAlive(Number(pid))).toBe(false)
    expect((await stat(join(cwd, '.porthor'))).isDirectory()).toBe(true)
  })

  it('serves from a database of its own choice, with a bootstrap token of its own', async () => {
    const { url: databaseUrl } = await freshDatabase()
    const dataDir = join(await temporaryDirectory(), 'data')
    const bootstrapToken = formatToken(generateToken())
    const secrets = { SESSION_SECRET: generateFernetKey(), BOOTSTRAP_TOKEN: `${bootstrapToken}\n` }
    const server = serve({ DATABASE_URL: `${databaseUrl}\n`, DATA_DIR: dataDir, ...secrets })
    const welcome = await readWelcome(server)
    expect(welcome).toMatchObject({
      data: 'the database of DATABASE_URL',
      bootstrapToken: 'the value of BOOTSTRAP_TOKEN',
    })
    const session = sessionIn(await paste(welcome.command, { BOOTSTRAP_TOKEN: bootstrapToken }))
    expect((await askGraphQL(welcome.url, VIEWER, { token: session })).errors).toEqual([])
    await expect(stat(join(dataDir, 'postgres'))).rejects.toThrow('ENOENT')

    const port = new URL(welcome.url).port
    const refused = await runPorthor(['serve'], { DATABASE_URL: databaseUrl, ...secrets, PORT: port })
    expect(refused.code).toBe(1)
    expect(refused.stderr).toBe(
      `porthor: 127.0.0.1:${port} is in use: set PORT to a free port (0 selects one).\n`,
    )
    expect(server.stdout()).toMatch(/"level":40,[^\n]*"msg":"bootstrap token is enabled: /)
    expect(server.stdout()).not.toContain('other machines can reach this development server')
    expect(server.stdout() + refused.stdout).not.toContain(parseToken(bootstrapToken).secret)
  })
})

describe('porthor serve in production', () => {
  it('ends in time where the reader of its log has stopped reading', async () => {
    const database = await freshDatabase()
    const env = { NODE_ENV: 'production', ...serverSecrets(), DATABASE_URL: database.url }
    const server = spawn(process.execPath, [PORTHOR, 'serve'], {
      env: { PATH: process.env.PATH, ...env, HOST: '127.0.0.1', PORT: '0', SHUTDOWN_DELAY: '0s' },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void server.kill('SIGKILL'))
    const exited = once(server, 'exit')
    let said = ''
    for await (const text of server.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
      said += text
      if (said.includes('listening')) break
    }
    const url = /"url":"([^"]+)"/.exec(said)?.[1] ?? ''
    // More than a pipe and this process hold, in names that are logged.
    const name = `N${'n'.repeat(5_000)}`
    for (let index = 0; index < 60; index += 1) await askGraphQL(url, `query ${name} { scopes { name } }`)
    server.kill('SIGTERM')
    expect(await exited).toEqual([0, null])
  })
})

describe('porthor serve with a faulty configuration', () => {
  it('names every fault of a production environment, and starts nothing', async () => {
    const cwd = await temporaryDirectory()
    const { code, stdout, stderr } = await runPorthor(
      ['serve'],
      {
        NODE_ENV: 'production',
        REDIS_URL: 'http://x',
        TOKEN_LIFETIME: 'soon',
        PORT: '99999',
        KNOWN_SCOPES: '{}',
      },
      { cwd },
    )
    expect([code, stdout]).toEqual([1, ''])
    const [headline, ...faults] = stderr.trimEnd().split('\n')
    expect(headline).toBe('porthor: The configuration has 7 errors:')
    expect(faults.map((fault) => /^ {2}- (\w+) /.exec(fault)?.[1]).sort()).toEqual([
      'BOOTSTRAP_TOKEN',
      'DATABASE_URL',
      'KNOWN_SCOPES',
      'PORT',
      'REDIS_URL',
      'SESSION_SECRET',
      'TOKEN_LIFETIME',
    ])
    await expect(stat(join(cwd, '.porthor'))).rejects.toThrow('ENOENT')
  })

  it('reports an invalid development environment before a database is created', async () => {
    const dataDir = join(await temporaryDirectory(), 'data')
    const { code, stdout, stderr } = await runPorthor(['serve'], { DATA_DIR: dataDir, LOG_LEVEL: 'loud' })
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/^porthor: The configuration has an error:\n {2}- LOG_LEVEL must be one of: .*\n$/)
    await expect(stat(join(dataDir, 'postgres'))).rejects.toThrow('ENOENT')
  })

  it('reports in one line that Redis refuses its credentials', async () => {
    const [database, { url }] = await Promise.all([freshDatabase(), freshRedis()])
    const REDIS_URL = url.replace('//', '//nobody:sesame@')
    const env = { NODE_ENV: 'production', ...serverSecrets(), DATABASE_URL: database.url, REDIS_URL }
    for (const command of [['serve'], ['token', 'list']]) {
      const { code, stdout, stderr } = await runPorthor(command, env)
      expect([code, stdout]).toEqual([1, ''])
      expect(stderr).toMatch(/^porthor: Redis cannot be used with REDIS_URL: WRONGPASS .*\n$/)
      expect(stderr).not.toContain('sesame')
    }
  })

  it('does not start where no record can be decrypted, and starts with the key that encrypted them', async () => {
    const [database, { url }] = await Promise.all([freshDatabase(), freshRedis()])
    const secrets = serverSecrets()
    const env = { NODE_ENV: 'production', ...secrets, DATABASE_URL: database.url, REDIS_URL: url, PORT: '0' }
    const create = ['token', 'create', 'session', 'wren']
    expect(await runPorthor(create, env)).toMatchObject({ code: 0 })
    const other = { ...env, SESSION_SECRET: serverSecrets().SESSION_SECRET }
    const { code, stdout, stderr } = await runPorthor(['serve'], other)
    expect([code, stdout.includes('listening')]).toEqual([1, false])
    expect(stderr).toMatch(
      /^porthor: No record of the token store can be read with a key of SESSION_SECRET, .*\n$/,
    )

    const both = { ...env, SESSION_SECRET: `${other.SESSION_SECRET},${secrets.SESSION_SECRET}` }
    expect(await runPorthor(create, both)).toMatchObject({ code: 0 })
    const server = startPorthor(['serve'], other)
    await server.prints(/"unreadable":1,"records":2/)
    expect(await server.stop()).toMatchObject({ code: 0 })
    await database.drop()
  })

  it('reports in one line that its data directory cannot be created', async () => {
    const file = join(await temporaryDirectory(), 'file')
    await writeFile(file, '')
    const { code, stdout, stderr } = await runPorthor(['serve'], { DATA_DIR: join(file, 'data') })
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toBe(
      `porthor: Porthor cannot write to ${join(file, 'data')}: set DATA_DIR to a directory that it may write to, or set DATABASE_URL.\n`,
    )
  })
})
