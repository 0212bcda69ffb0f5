import { type Environment, loadConfig, settingsIn } from '../../config/config.ts'
import { isProduction } from '../../config/given-settings.ts'
import { notesOf, type SettingNotes } from '../../config/setting.ts'
import { settingsOf } from '../../config/settings.ts'
import { withPlaceholders } from '../environment.ts'
import { escapeControls, print } from '../output.ts'
import type { JsonFlag } from './token-actions.ts'

/** Stands for a secret in the output. */
const MASK = '********'

/**
 * Prints every setting as it is in effect, without secrets. Starts and writes nothing.
 *
 * @throws {ConfigError} A setting is not valid.
 */
export function printConfig(env: Environment, { json }: JsonFlag): void {
  loadConfig(withPlaceholders(env))
  const given = settingsIn(env)
  const settings = [...notesOf(settingsOf(isProduction(env)).shape)].map(([name, notes]) => ({
    name,
    value: given[name] === undefined ? (notes.default ?? null) : notes.isSecret ? MASK : given[name],
    note: given[name] === undefined ? describeDefault(notes) : '',
  }))
  if (json) print(JSON.stringify(Object.fromEntries(settings.map(({ name, value }) => [name, value]))))
  else for (const { name, value, note } of settings) print(`${name}=${escapeControls(value ?? '')}${note}`)
}

/** Returns a comment as of a shell. Notes are Markdown. */
const describeDefault = ({ default: text, defaultNote }: SettingNotes): string =>
  `   # default${text === undefined && defaultNote ? `: ${defaultNote.replaceAll('`', '')}` : ''}`
