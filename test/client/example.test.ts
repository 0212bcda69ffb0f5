import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { formatToken, generateToken } from '../../src/domain/token.ts'
import { usePorthor } from '../support/porthor/use-porthor.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

interface Ended {
  readonly code: unknown
  readonly stdout: string
  readonly stderr: string
}

describe('examples/delegate.ts', () => {
  const t = usePorthor('postgres', {}, { isFresh: true })

  /** Runs it as its first lines say. */
  const run = (token: string, ...args: string[]) =>
    new Promise<Ended>((resolve) => {
      const env = { PATH: process.env.PATH, PORTHOR_URL: t.h.url, PORTHOR_TOKEN: token }
      const command = ['--import', 'tsx', 'examples/delegate.ts', ...args]
      execFile(process.execPath, command, { cwd: ROOT, env }, (error, stdout, stderr) =>
        resolve({ code: error ? error.code : 0, stdout, stderr }),
      )
    })

  it('delegates a token, reuses it, and prints no secret', async () => {
    const session = await t.h.session('wren', ['read:all', 'read:tap'])
    const { code, stdout, stderr } = await run(session, 'image-cutouts', 'read:all')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })

    const [row] = await t.h.sql<{ token: string }>(`SELECT token FROM token WHERE service = 'image-cutouts'`)
    const delegated = `${row?.token} for image-cutouts: scopes [read:all], expires <time>, source`
    expect(stdout.replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>').split('\n')).toEqual([
      'Current token: wren with [read:all read:tap]',
      `${delegated} NEW`,
      `${delegated} CACHE`,
      'The service holds [read:all]',
      '',
    ])
    expect(stdout).not.toMatch(/gt-/)
  })

  it('reports what went wrong, and what to do about it', async () => {
    const stranger = formatToken(generateToken())
    const { code, stdout, stderr } = await run(stranger)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^UNAUTHENTICATED: .*\nSet PORTHOR_TOKEN to the token of a session\.\n$/)
    expect(stderr).not.toContain(stranger)
  })
})
