import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { generateFernetKey } from '../../src/lib/fernet.ts'
import { runPorthor } from '../support/processes/cli.ts'

// Each command is a process of its own, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 120_000 })

const KEY = generateFernetKey()
const ENV = {
  DATABASE_URL: 'postgresql://porthor:hunter2@db.example/porthor',
  SESSION_SECRET: KEY,
  BOOTSTRAP_TOKEN: 'none',
  TOKEN_LIFETIME: '7d',
}

describe('porthor config', () => {
  it('prints every setting in effect, given or by default, and masks secrets', async () => {
    const { code, stdout, stderr } = await runPorthor(['config'], ENV)
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout.split('\n')).toEqual(
      expect.arrayContaining([
        'DATABASE_URL=********',
        'SESSION_SECRET=********',
        'TOKEN_LIFETIME=7d',
        'DELEGATED_TOKEN_LIFETIME=   # default: TOKEN_LIFETIME',
        'PORT=4000   # default',
      ]),
    )
    expect(stdout).not.toContain('hunter2')
    expect(stdout).not.toContain(KEY)
  })

  it('--json prints one object', async () => {
    const { stdout } = await runPorthor(['config', '--json'], ENV)
    expect(JSON.parse(stdout)).toMatchObject({
      SESSION_SECRET: '********',
      TOKEN_LIFETIME: '7d',
      PORT: '4000',
      REDIS_URL: null,
    })
  })

  it('reports every error by name and fails, and prints nothing else', async () => {
    const { code, stdout, stderr } = await runPorthor(['config'], { ...ENV, PORT: 'x', REDIS_ULR: 'y' })
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/2 errors:\n {2}- REDIS_ULR is not .*REDIS_URL\n {2}- PORT must be/)
  })

  it('starts nothing and writes nothing where the embedded PostgreSQL and generated secrets are used', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'porthor-config-'))
    onTestFinished(() => rm(dir, { recursive: true }))
    expect(await runPorthor(['config'], {}, { cwd: dir })).toMatchObject({ code: 0 })
    expect(await readdir(dir)).toEqual([])
  })
})
