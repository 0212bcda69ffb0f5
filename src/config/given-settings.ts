import { readFileSync, statSync } from 'node:fs'
import { isOneEditApart } from '../lib/one-edit.ts'
import { notesOf } from './setting.ts'
import { settingsOf } from './settings.ts'

export type Environment = Readonly<Record<string, string | undefined>>

export const isProduction = (env: Environment): boolean => env.NODE_ENV === 'production'

/** The settings that an environment gives. */
export interface GivenSettings {
  /** Text of each setting that is set, by its name. */
  readonly texts: Environment
  /** What is wrong with variables that are meant to give a setting and do not, by the variable's name. */
  readonly problems: ReadonlyMap<string, string>
}

/** Ends the name of a variable that names the file with a setting's text. */
const FILE = '_FILE'

/** Maximum size of such a file, in bytes. */
const MAX_FILE_BYTES = 1_048_576

/**
 * Finds the settings of an environment, and reads the files that `NAME_FILE` variables name. A variable that is empty
 * counts as not set, as in most shells' `${NAME:-default}`.
 */
export function findGivenSettings(env: Environment): GivenSettings {
  const texts: Record<string, string> = {}
  const problems = new Map<string, string>()
  const names = new Set<string>()
  for (const [name, { isSecret, mayBeInFile = isSecret }] of notesOf(settingsOf(isProduction(env)).shape)) {
    names.add(name)
    const text = isSecret ? env[name]?.trim() : env[name]
    if (text) texts[name] = text
    if (!mayBeInFile) continue
    names.add(name + FILE)
    const path = env[name + FILE]
    if (!path) continue
    try {
      const content = readText(path)
      if (text) throw new Error(`and ${name} must not both be set`)
      texts[name] = content
    } catch (error) {
      problems.set(name + FILE, (error as Error).message)
    }
  }
  for (const name of Object.keys(env)) {
    const meant = env[name] && !names.has(name) && [...names].find((known) => isOneEditApart(name, known))
    if (meant) problems.set(name, `is not a setting: use ${meant}`)
  }
  return { texts, problems }
}

/** The name of the setting whose text a variable gives: that of the variable, or of its file. */
export const settingGivenBy = (variable: string): string =>
  variable.endsWith(FILE) ? variable.slice(0, -FILE.length) : variable

/** @throws {Error} Continues a sentence that begins with the variable's name. Does not quote the path or the text. */
function readText(path: string): string {
  const { text, reason } = read(path)
  if (text) return text
  throw new Error(`must name a file that can be read and is not empty${reason ? `: ${reason}` : ''}`)
}

function read(path: string): { readonly text?: string; readonly reason?: string | undefined } {
  try {
    if (statSync(path).size > MAX_FILE_BYTES) return { reason: 'it has more than 1 MiB' }
    return { text: readFileSync(path, 'utf8').trim() }
  } catch (error) {
    return { reason: (error as NodeJS.ErrnoException).code }
  }
}
