import { chmod, chown, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { withPlaceholders, withSecrets } from '../../src/cli/environment.ts'
import { readOrCreateSecret } from '../../src/cli/generated-secret.ts'
import { loadConfig } from '../../src/config/config.ts'
import { generateFernetKey } from '../../src/lib/fernet.ts'
import { temporaryDirectory } from '../support/processes/cli.ts'

const SECRET = {
  generate: generateFernetKey,
  check: (text: string) => {
    if (text === 'damaged') throw new Error('no secret')
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

describe('a file is refused, and left as it is, that', () => {
  it.each([0o644, 0o640, 0o620, 0o602])('others may read or change: mode %o', async (mode) => {
    const path = join(await temporaryDirectory(), 'session-secret')
    await writeFile(path, 'kept\n')
    await chmod(path, mode)
    await expect(readOrCreateSecret(path, SECRET)).rejects.toThrow(
      `${path} cannot be trusted because others may read or change it (mode ${mode.toString(8)}): if no one has, \`chmod 600 ${path}\`, or remove it to have a new one generated.`,
    )
    expect((await stat(path)).mode & 0o777).toBe(mode)
  })

  it('is a link, be it to nowhere, and what it leads to keeps its rights', async () => {
    const directory = await temporaryDirectory()
    const [path, elsewhere] = [join(directory, 'session-secret'), join(directory, 'elsewhere')]
    await symlink(elsewhere, path)
    const refused = /session-secret cannot be trusted because it is a link: /
    await expect(readOrCreateSecret(path, SECRET)).rejects.toThrow(refused)
    await writeFile(elsewhere, 'kept\n')
    await chmod(elsewhere, 0o644)
    await expect(readOrCreateSecret(path, SECRET)).rejects.toThrow(refused)
    expect((await stat(elsewhere)).mode & 0o777).toBe(0o644)
  })

  it('is a directory', async () => {
    const path = await temporaryDirectory()
    await expect(readOrCreateSecret(path, SECRET)).rejects.toThrow('it is not a file')
  })

  it.runIf(process.getuid?.() === 0)('belongs to another user', async () => {
    const path = join(await temporaryDirectory(), 'session-secret')
    await writeFile(path, 'kept\n', { mode: 0o600 })
    await chown(path, 4711, 4711)
    await expect(readOrCreateSecret(path, SECRET)).rejects.toThrow(
      'it belongs to another user (uid 4711): if it is yours, `chown 0 ',
    )
  })
})

it.each([{ DATABASE_URL: 'postgresql://db.example/porthor' }, { REDIS_URL: 'redis://redis.example' }])(
  'for a store from outside nothing is generated, nor is what was kept taken: %j',
  async (store) => {
    const dataDir = await temporaryDirectory()
    await writeFile(join(dataDir, 'session-secret'), `${generateFernetKey()}\n`, { mode: 0o600 })
    const env = { DATA_DIR: dataDir, ...store }
    expect(await withSecrets(env)).toEqual(env)
    expect(() => loadConfig(withPlaceholders(env))).toThrow(
      /SESSION_SECRET is required: [\s\S]*BOOTSTRAP_TOKEN is required: /,
    )
    expect(await readdir(dataDir)).toEqual(['session-secret'])
  },
)

it('an empty file is reported, and not overwritten', async () => {
  const path = join(await temporaryDirectory(), 'session-secret')
  await writeFile(path, '\n', { mode: 0o600 })
  await expect(readOrCreateSecret(path, SECRET)).rejects.toThrow(/ is empty: remove it/)
  expect(await readFile(path, 'utf8')).toBe('\n')
})

it('a file with other content is reported by its name, and not overwritten', async () => {
  const path = join(await temporaryDirectory(), 'session-secret')
  await writeFile(path, 'damaged\n', { mode: 0o600 })
  await expect(readOrCreateSecret(path, SECRET)).rejects.toThrow(
    `${path} does not hold a valid secret: restore its content`,
  )
  expect(await readFile(path, 'utf8')).toBe('damaged\n')
})

it('a kept SESSION_SECRET is read as that of the environment: its keys may stand on lines of their own', async () => {
  const dataDir = await temporaryDirectory()
  const kept = `${generateFernetKey()},\n${generateFernetKey()}`
  await writeFile(join(dataDir, 'session-secret'), `${kept}\n`, { mode: 0o600 })
  const { SESSION_SECRET } = await withSecrets({ DATA_DIR: dataDir, BOOTSTRAP_TOKEN: 'none' })
  expect(SESSION_SECRET).toBe(kept)
})
