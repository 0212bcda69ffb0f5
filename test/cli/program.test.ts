import { readFileSync } from 'node:fs'
import { describe, expect, it, vi } from 'vitest'
import { parseToken } from '../../src/domain/token.ts'
import { Fernet } from '../../src/lib/fernet.ts'
import { runPorthor } from '../support/cli.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

// Each command is a process of its own, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 120_000 })

describe('porthor', () => {
  it('--help tells every command, and where the settings are explained', async () => {
    const { code, stdout, stderr } = await runPorthor(['--help'])
    expect([code, stderr]).toEqual([0, ''])
    for (const command of ['serve', 'migrate', 'generate-secret', 'generate-token']) {
      expect(stdout).toMatch(new RegExp(`^ {2}${command} +\\S`, 'm'))
    }
    expect(stdout).toContain('README')
  })

  it('without a command shows the help, and fails', async () => {
    const { code, stdout, stderr } = await runPorthor([])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain('Usage: porthor')
  })

  it('does not know other commands and options, and says so first', async () => {
    const [command, option] = await Promise.all([
      runPorthor(['server']),
      runPorthor(['serve', '--port', '1']),
    ])
    expect([command.code, command.stderr.split('\n')[0]]).toEqual([2, "error: unknown command 'server'"])
    expect([option.code, option.stderr.split('\n')[0]]).toEqual([2, "error: unknown option '--port'"])
  })

  it('--version is that of the package', async () => {
    expect(await runPorthor(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n` })
  })

  it('generate-secret prints a new Fernet key each time, and nothing else', async () => {
    const [first, second] = await Promise.all([
      runPorthor(['generate-secret']),
      runPorthor(['generate-secret']),
    ])
    for (const { code, stdout, stderr } of [first, second]) {
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout).toMatch(/^[\w-]{43}=\n$/)
      const fernet = new Fernet([stdout.trim()])
      expect(fernet.open(fernet.seal('gt', { now: new Date() }))).toBe('gt')
    }
    expect(first.stdout).not.toBe(second.stdout)
  })

  it('generate-token prints a new token each time, and nothing else', async () => {
    const [first, second] = await Promise.all([
      runPorthor(['generate-token']),
      runPorthor(['generate-token']),
    ])
    for (const { code, stdout, stderr } of [first, second]) {
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout).toMatch(/^gt-[\w-]{22}\.[\w-]{22}\n$/)
    }
    expect(parseToken(first.stdout.trim()).key).not.toBe(parseToken(second.stdout.trim()).key)
    expect(parseToken(first.stdout.trim()).secret).not.toBe(parseToken(second.stdout.trim()).secret)
  })
})
