import { execFile, spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it, onTestFinished } from 'vitest'
import { openPorthor } from '../../support/porthor/porthor.ts'

const GUIDE = new URL('../../../docs/guides/checking-tokens.md', import.meta.url)
const STAND_IN_FOR_CURL = fileURLToPath(new URL('../../support/processes/curl.mjs', import.meta.url))

/** The code blocks of the guide in one language. */
const blocksIn = (text: string, language: string): string[] =>
  [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].flatMap(([, name, block = '']) =>
    name === language ? [block] : [],
  )

// Each command starts a process.
it('the commands of the guide on checking tokens print the responses that it shows', {
  timeout: 120_000,
}, async () => {
  const h = await openPorthor({ store: 'postgres' })
  onTestFinished(() => h.close())
  const dir = await mkdtemp(join(tmpdir(), 'porthor-guide-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  // A machine without curl has one that does the same here.
  if (spawnSync('curl', ['--version']).error) await symlink(STAND_IN_FOR_CURL, join(dir, 'curl'))
  const guide = await readFile(GUIDE, 'utf8')
  const script = ['set -euo pipefail', ...blocksIn(guide, 'bash')].join('\necho\n')
  const { stdout, stderr } = await promisify(execFile)('bash', ['--norc', '-c', script], {
    env: { PATH: `${dir}:${process.env.PATH}`, PORTHOR: new URL(h.url).origin, ADMIN: h.bootstrapToken },
  })
  expect(stderr).toBe('')
  const [active = '', inactive = ''] = stdout.split('\n').filter(Boolean)
  const shown = JSON.parse(blocksIn(guide, 'json')[0] ?? '') as Record<string, unknown>
  const varying = {
    iss: expect.any(String),
    jti: expect.any(String),
    exp: expect.any(Number),
    iat: expect.any(Number),
  }
  expect(JSON.parse(active)).toEqual({ ...shown, ...varying })
  expect(Object.keys(JSON.parse(active))).toEqual(Object.keys(shown))
  expect(inactive).toBe('{"active":false}')
})
