import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Environment, loadConfig, settingsIn } from '../../src/config/config.ts'
import { generateFernetKey } from '../../src/lib/fernet.ts'
import { configErrorsOf } from '../support/checks/config-errors.ts'

const KEY = generateFernetKey()
const LEAST: Environment = {
  DATABASE_URL: 'postgresql://porthor:hunter2@db.example/porthor',
  SESSION_SECRET: KEY,
  BOOTSTRAP_TOKEN: 'none',
}

/** Writes a file with `text` for the length of the test, and returns its path. */
function fileWith(text: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'porthor-settings-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  writeFileSync(join(dir, 'text'), text)
  return join(dir, 'text')
}

/** Returns the errors of an environment, also of one whose settings were found before. */
function errorsOf(env: Environment): readonly string[] {
  const errors = configErrorsOf(env)
  expect(configErrorsOf(settingsIn(env))).toEqual(errors)
  return errors
}

describe('NAME_FILE', () => {
  it.each(['DATABASE_URL', 'SESSION_SECRET', 'BOOTSTRAP_TOKEN'])(
    'names a file with the text of the secret %s, whose white space at the ends is ignored',
    (name) => {
      const { [name]: text = '', ...others } = LEAST
      const env = { ...others, [`${name}_FILE`]: fileWith(`\n ${text}\r\n`) }
      expect(settingsIn(env)).toEqual(LEAST)
      expect(errorsOf(env)).toEqual([])
    },
  )

  it('names a file with the text of a JSON setting', () => {
    const json = '{"admin:token":"","user:token":"","from:file":""}'
    const { knownScopes } = loadConfig({ ...LEAST, KNOWN_SCOPES_FILE: fileWith(json) })
    expect([...knownScopes.keys()]).toContain('from:file')
  })

  it('beside NAME is an error, also where both have the same text', () => {
    expect(errorsOf({ ...LEAST, SESSION_SECRET_FILE: fileWith(KEY) })).toEqual([
      'SESSION_SECRET_FILE and SESSION_SECRET must not both be set',
    ])
  })

  it('that is empty counts as not set', () => {
    expect(errorsOf({ ...LEAST, SESSION_SECRET_FILE: '' })).toEqual([])
  })

  it.each([
    ['there is no file', () => '/nowhere/at/all', ': ENOENT'],
    ['it names a directory', tmpdir, ': EISDIR'],
    ['the file is empty', () => fileWith(' \n'), ''],
    ['the file is too large', () => fileWith('x'.repeat(1_048_577)), ': it has more than 1 MiB'],
  ])('is the only error of its setting, and quotes no path, where %s', (_what, path, reason) => {
    const { SESSION_SECRET: _, ...others } = LEAST
    expect(errorsOf({ ...others, SESSION_SECRET_FILE: path(), PORT: 'x' })).toEqual([
      `SESSION_SECRET_FILE must name a file that can be read and is not empty${reason}`,
      'PORT must be a whole number from 0 to 65535',
    ])
  })

  it('is not for settings that are neither secret nor JSON', () => {
    expect(loadConfig({ ...LEAST, PORT_FILE: fileWith('5000') }).port).toBe(4_000)
  })
})

describe('a misspelt setting', () => {
  it.each([
    ['REDIS_ULR', 'REDIS_URL'],
    ['LOGLEVEL', 'LOG_LEVEL'],
    ['TRUSTED_PROXY', 'TRUSTED_PROXIES'],
    ['SESSION_SECRET_FIL', 'SESSION_SECRET_FILE'],
    ['SESSION_SECRETS', 'SESSION_SECRET'],
  ])('%s is an error that names the setting, where it is one edit away', (name, meant) => {
    const expected = name === 'TRUSTED_PROXY' ? [] : [`${name} is not a setting: use ${meant}`]
    expect(errorsOf({ ...LEAST, [name]: 'x' })).toEqual(expected)
  })

  it('that is empty is none', () => {
    expect(errorsOf({ ...LEAST, REDIS_ULR: '' })).toEqual([])
  })
})
