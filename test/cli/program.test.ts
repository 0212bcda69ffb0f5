import { readFileSync } from 'node:fs'
import { describe, expect, it, vi } from 'vitest'
import { formatToken, parseToken } from '../../src/domain/token.ts'
import { Fernet } from '../../src/lib/fernet.ts'
import { runPorthor } from '../support/processes/cli.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

// Each command is a process of its own, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 120_000 })

describe('porthor', () => {
  it('--help lists every command, and where the settings are explained', async () => {
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

  it('refuses unknown commands and options, with that error first', async () => {
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

  it('generate-secret prints a Fernet key, generate-token a token, and nothing else', async () => {
    const [secret, token] = await Promise.all([
      runPorthor(['generate-secret']),
      runPorthor(['generate-token']),
    ])
    for (const { code, stderr } of [secret, token]) expect([code, stderr]).toEqual([0, ''])
    expect(secret.stdout).toMatch(/^[\w-]{43}=\n$/)
    const fernet = new Fernet([secret.stdout.trim()])
    expect(fernet.decrypt(fernet.encrypt('gt', { now: new Date() }))).toBe('gt')
    expect(token.stdout).toMatch(/^gt-[\w-]{22}\.[\w-]{22}\n$/)
    expect(formatToken(parseToken(token.stdout.trim()))).toBe(token.stdout.trim())
  })
})
