import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { withSecrets } from '../../src/cli/environment.ts'
import { readOrCreateSecret } from '../../src/cli/secret-file.ts'
import { generateFernetKey } from '../../src/lib/fernet.ts'
import { temporaryDirectory } from '../support/cli.ts'

const SECRET = {
  generate: generateFernetKey,
  check: (text: string) => {
    if (text === 'spoilt') throw new Error('no secret')
  },
}

it('several first starts at once get the same secret, which the next one finds, for its owner alone', async () => {
  const dataDir = join(await temporaryDirectory(), 'data')
  const path = join(dataDir, 'session-secret')
  const secrets = await Promise.all(
    Array.from({ length: 40 }, async (_, index) => {
      // Not in step: each at another point of its way when the first has finished.
      for (let turn = 0; turn < index; turn++) await nextTurn()
      return readOrCreateSecret(path, SECRET)
    }),
  )
  expect(new Set(secrets).size).toBe(1)
  expect(await readOrCreateSecret(path, SECRET)).toBe(secrets[0])
  expect(await readFile(path, 'utf8')).toBe(`${secrets[0]}\n`)
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  expect(await readdir(dataDir)).toEqual(['session-secret'])
})

it('a secret that others may read is kept from them when it is read', async () => {
  const path = join(await temporaryDirectory(), 'session-secret')
  await writeFile(path, 'kept\n', { mode: 0o644 })
  expect(await readOrCreateSecret(path, SECRET)).toBe('kept')
  expect((await stat(path)).mode & 0o777).toBe(0o600)
})

it('a file with nothing in it is told of, and not written over', async () => {
  const path = join(await temporaryDirectory(), 'session-secret')
  await writeFile(path, '\n')
  await expect(readOrCreateSecret(path, SECRET)).rejects.toThrow(/ is empty: remove it/)
  expect(await readFile(path, 'utf8')).toBe('\n')
})

it('a file with something else in it is told of by its name, and not written over', async () => {
  const path = join(await temporaryDirectory(), 'session-secret')
  await writeFile(path, 'spoilt\n')
  await expect(readOrCreateSecret(path, SECRET)).rejects.toThrow(`${path} is spoilt: put back what was in it`)
  expect(await readFile(path, 'utf8')).toBe('spoilt\n')
})

it('a kept SESSION_SECRET is read as that of the environment: its keys may stand on lines of their own', async () => {
  const dataDir = await temporaryDirectory()
  const kept = `${generateFernetKey()},\n${generateFernetKey()}`
  await writeFile(join(dataDir, 'session-secret'), `${kept}\n`)
  const { SESSION_SECRET } = await withSecrets({ DATA_DIR: dataDir, BOOTSTRAP_TOKEN: 'none' })
  expect(SESSION_SECRET).toBe(kept)
})
