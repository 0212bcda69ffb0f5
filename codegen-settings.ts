// The table of docs/reference/settings.md, from the declaration of the settings.
import { readFile } from 'node:fs/promises'
import { notesOf, type SettingNotes } from './src/config/setting.ts'
import { settingsOf } from './src/config/settings.ts'

export const SETTINGS_PAGE = 'docs/reference/settings.md'

const HEAD = '| setting | values | default | meaning |\n|---|---|---|---|\n'
const TABLE = /\| setting \|.*\n(\|.*\n)+/

/** Returns the page as it is, with a new table. Writes nothing. */
export async function generateSettingsPage(): Promise<string> {
  const page = await readFile(new URL(SETTINGS_PAGE, import.meta.url), 'utf8')
  if (!TABLE.test(page)) throw new Error(`${SETTINGS_PAGE} has no table of settings`)
  return page.replace(TABLE, () => HEAD + tableOfSettings())
}

function tableOfSettings(): string {
  const inProduction = notesOf(settingsOf(true).shape)
  return [...notesOf(settingsOf(false).shape)]
    .map(([name, notes]) => {
      const { values, description, isSecret, mayBeInFile = isSecret } = notes
      const file = mayBeInFile ? `; or in a file: \`${name}_FILE\`` : ''
      return `| \`${name}\` | ${values}${file} | ${describeDefault(notes, inProduction.get(name)?.default)} | ${description} |\n`
    })
    .join('')
}

function describeDefault(
  { default: text, defaultNote }: SettingNotes,
  inProduction: string | undefined,
): string {
  if (defaultNote !== undefined) return defaultNote
  return text === inProduction ? `\`${text}\`` : `\`${text}\`; in production \`${inProduction}\``
}
