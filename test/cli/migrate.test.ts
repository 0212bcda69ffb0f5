import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { formatToken, generateToken } from '../../src/domain/token.ts'
import { generateFernetKey } from '../../src/lib/fernet.ts'
import { isAlive, runPorthor, temporaryDirectory } from '../support/processes/cli.ts'
import { runHere } from '../support/processes/command.ts'
import { emptyDatabase } from '../support/stores/stores.ts'

const LAST_MIGRATION = (await readdir(new URL('../../prisma/migrations', import.meta.url)))
  .filter((name) => /^\d/.test(name))
  .sort()
  .at(-1)

const production = (databaseUrl: string) => ({
  NODE_ENV: 'production',
  DATABASE_URL: databaseUrl,
  SESSION_SECRET: generateFernetKey(),
  BOOTSTRAP_TOKEN: formatToken(generateToken()),
})

// Each command is a process of its own, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 120_000 })

describe('porthor migrate', () => {
  it('creates the tables once, and prints what it did', async () => {
    const database = await emptyDatabase()
    const env = production(database.url)
    const first = await runPorthor(['migrate'], env)
    expect([first.code, first.stderr]).toEqual([0, ''])
    expect(first.stdout).toMatch(new RegExp(`^Applied .*${LAST_MIGRATION}\\.$`, 'm'))
    const second = await runPorthor(['migrate'], env)
    expect([second.code, second.stderr, second.stdout]).toEqual([0, '', 'The database is up to date.\n'])
    const client = new pg.Client(database.url)
    await client.connect()
    onTestFinished(() => client.end())
    const { rows } = await client.query('SELECT count(*)::int AS tokens FROM token')
    expect(rows).toEqual([{ tokens: 0 }])
  })

  it('is the command that a server in production names where tables are missing', async () => {
    const database = await emptyDatabase()
    const { code, stdout, stderr } = await runPorthor(['serve'], { ...production(database.url), PORT: '0' })
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/^porthor: The database lacks .*: run `porthor migrate`\.\n$/)
  })

  it('fails in one line where there is no database, without the password', async () => {
    const { code, stdout, stderr } = await runPorthor(
      ['migrate'],
      production('postgresql://porthor:Sesame-0pen-it@127.0.0.1:1/porthor'),
    )
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(
      /^porthor: Cannot connect to PostgreSQL at 127\.0\.0\.1:1\/porthor as porthor: .+\n$/,
    )
    expect(stderr).not.toContain('Sesame')
  })

  it.each([undefined, ''])('in production requires no secrets, be they %o', async (none) => {
    const env = production('postgresql://127.0.0.1:1/porthor')
    const { stderr } = await runHere(['migrate'], { ...env, SESSION_SECRET: none, BOOTSTRAP_TOKEN: none })
    expect(stderr).toMatch(/^porthor: Cannot connect to PostgreSQL/)
  })

  it('prepares the embedded database too, and leaves no server behind', async () => {
    const dataDir = join(await temporaryDirectory(), 'data')
    const { code, stdout, stderr } = await runPorthor(['migrate'], { DATA_DIR: dataDir, LOG_LEVEL: 'info' })
    expect(code).toBe(0)
    expect(stdout).toMatch(/^Applied .*\.\n$/)
    const pid = /"pid":(\d+)/.exec(stderr)?.[1]
    expect(pid).toBeDefined()
    expect(isAlive(Number(pid))).toBe(false)
  })
})
