import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { generateSettingsPage, SETTINGS_PAGE } from '../../codegen-settings.ts'
import { ERROR_STATUS } from '../../src/http/error-status.ts'
import { AuthMetrics } from '../../src/http/forward-auth/metrics.ts'
import { Monitoring } from '../../src/http/monitoring.ts'
import { OAUTH_ERRORS } from '../../src/http/oauth/oauth-error.ts'
import {
  ENGINE_LOCK,
  MAINTENANCE_LOCK,
  MIGRATE_LOCK,
  REPLAY_LOCK,
} from '../../src/stores/database/advisory-locks.ts'
import { runHere } from '../support/processes/command.ts'
import { PROJECT } from './pages.ts'
import { findErrorCodes, findLogMessages, findMembers, findSettings, readSources } from './source.ts'
import { nameOf, quotedIn, readRows } from './tables.ts'

const sorted = (names: Iterable<string>): string[] => [...new Set(names)].sort()

/** Yoga and graphql-js set these by themselves. */
const CODES_OF_YOGA = ['GRAPHQL_PARSE_FAILED', 'GRAPHQL_VALIDATION_FAILED', 'OPERATION_RESOLUTION_FAILURE']

describe('docs/reference', () => {
  it('settings.md has every setting with its values, default and meaning, as they are declared', async () => {
    const page = await readFile(new URL(SETTINGS_PAGE, PROJECT), 'utf8')
    expect(page, 'run npm run codegen').toBe(await generateSettingsPage())
  })

  it('settings.md has every setting that is read from the environment by its name', async () => {
    const names = (await readRows('settings.md', 'setting')).map(nameOf)
    const read = (await readSources()).flatMap(findSettings)
    expect(read.filter((name) => !names.includes(name))).toEqual([])
  })

  it('errors.md has every code, once, with the HTTP status of those that are expected, and no other', async () => {
    const rows = await readRows('errors.md', 'code')
    const names = rows.map(nameOf)
    expect(names).toEqual([...new Set(names)])
    const inSource = (await readSources()).flatMap(findErrorCodes)
    expect(sorted(names)).toEqual(sorted([...Object.keys(ERROR_STATUS), ...inSource, ...CODES_OF_YOGA]))
    const statuses = rows.map((row) => [nameOf(row), Number(row.HTTP)] as const)
    expect(Object.fromEntries(statuses.filter(([name]) => name in ERROR_STATUS))).toEqual(ERROR_STATUS)
  })

  it('errors.md has every fact that an error can have, with codes that there are, and no other', async () => {
    const rows = await readRows('errors.md', 'field')
    const members = (await readSources()).flatMap((source) => findMembers(source, 'ErrorFacts'))
    expect(sorted(rows.flatMap(({ field }) => quotedIn(field)))).toEqual(sorted(members))
    const codes = sorted(rows.flatMap((row) => quotedIn(row.with)))
    expect(codes).toEqual(codes.filter((code) => code in ERROR_STATUS))
  })

  it('oauth.md has every error of the OAuth endpoints, once, and no other', async () => {
    const names = (await readRows('oauth.md', 'error')).filter(({ error }) => error !== '').map(nameOf)
    expect(names).toEqual([...new Set(names)])
    expect(sorted(names)).toEqual([...OAUTH_ERRORS])
  })

  it('log-messages.md has every message that is logged, with its level, once, and no other', async () => {
    const rows = await readRows('log-messages.md', 'message')
    const documented = rows.map((row) => `${row.level}: ${nameOf(row)}`)
    expect(documented).toEqual([...new Set(documented)])
    const logged = (await readSources()).flatMap(findLogMessages)
    expect(sorted(documented)).toEqual(sorted(logged.map(({ message, level }) => `${level}: ${message}`)))
  })

  it('metrics.md has every metric of ours, with its type and labels, and no other', async () => {
    const documented = (await readRows('metrics.md', 'metric')).map((row) => ({
      name: nameOf(row),
      type: row.type,
      labels: quotedIn(row.labels),
    }))
    const { registry } = new Monitoring({ checkStores: () => expect.fail('nothing collects metrics') })
      .metrics
    new AuthMetrics(registry)
    const registered = registry.getMetricsAsArray() as unknown as readonly RegisteredMetric[]
    const ours = registered
      .filter(({ name }) => name.startsWith('porthor_'))
      .map(({ name, type, labelNames }) => ({ name, type, labels: labelNames }))
    expect(documented.sort(byName)).toEqual(ours.sort(byName))
  })

  it('rules.md names files that exist, and has every rule that tests cite', async () => {
    const rows = await readRows('rules.md', 'id')
    const files = rows.flatMap(({ code, tests }) => [
      ...quotedIn(code).map((name) => (name.includes('/') ? `src/${name}` : undefined)),
      ...quotedIn(tests).map((name) => `test/${name}.test.ts`),
    ])
    const missing = files.filter((path) => path !== undefined && !existsSync(new URL(path, PROJECT)))
    expect(missing).toEqual([])
    const ids = rows.map(({ id }) => id)
    const cited = await citedRules()
    expect(cited.filter((id) => !ids.includes(id))).toEqual([])
  })

  it('storage.md has the fixed key of every advisory lock that has one', async () => {
    const rows = await readRows('storage.md', 'lock')
    const keys = rows.flatMap(({ key }) => quotedIn(key).map(Number))
    expect(keys).toEqual([...MIGRATE_LOCK, ENGINE_LOCK, MAINTENANCE_LOCK, REPLAY_LOCK])
  })

  it('commands.md has every command with its options, and no other', async () => {
    const documented = (await readRows('commands.md', 'command')).map((row) => [
      nameOf(row),
      quotedIn(row.options).sort(),
    ])
    expect(Object.fromEntries(documented)).toEqual(await listCommands([]))
  })
})

/** The ids of the rules that titles of tests begin with. */
async function citedRules(): Promise<readonly string[]> {
  const paths = await readdir(new URL('test/', PROJECT), { recursive: true })
  const files = paths.filter((path) => path.endsWith('.test.ts'))
  const texts = await Promise.all(files.map((path) => readFile(new URL(`test/${path}`, PROJECT), 'utf8')))
  return texts.flatMap((text) => [...text.matchAll(/'rule (\d+)\b/g)].map(([, id = '']) => id))
}

interface RegisteredMetric {
  readonly name: string
  readonly type: string
  readonly labelNames: readonly string[]
}

const byName = (left: { name: string }, right: { name: string }): number =>
  left.name.localeCompare(right.name)

/** The commands below `parents`, each with its options, as `--help` lists them. */
async function listCommands(parents: readonly string[]): Promise<Record<string, string[]>> {
  const { stdout } = await runHere([...parents, '--help'], {})
  const names = namesIn(stdout, 'Commands').map((usage) => usage.split(' ')[0] ?? '')
  if (names.length === 0) return { [parents.join(' ')]: namesIn(stdout, 'Options').sort() }
  const below: Record<string, string[]> = {}
  for (const name of names) Object.assign(below, await listCommands([...parents, name]))
  return below
}

/** The first column of a section of `--help`. */
function namesIn(help: string, section: string): string[] {
  const [, text = ''] = help.split(`${section}:\n`)
  const [lines = ''] = text.split('\n\n')
  return [...lines.matchAll(/^ {2}(\S.*?)(?: {2,}.*)?$/gm)]
    .map(([, name = '']) => name)
    .filter((name) => !/^(help\b|-h,)/.test(name))
}
