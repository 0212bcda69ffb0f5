import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** A file of the project. */
export interface Source {
  /** From the top of the project, as `src/app.ts`. */
  readonly path: string
  readonly text: string
}

/** The files below `folder` whose names end in `extension`, without the generated ones. */
export const readSources = (folder: string, extension = '.ts'): readonly Source[] =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((path) => join(folder, path))
    .filter((path) => path.endsWith(extension) && !path.includes('/generated/'))
    .sort()
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))

const IMPORT = /(?:from|import)\s*\(?\s*'(?<specifier>\.{1,2}\/[^']+)'/g

/** The project's files that `source` imports. */
export const importsOf = ({ path, text }: Source): readonly string[] =>
  Array.from(text.matchAll(IMPORT), ({ groups }) => join(dirname(path), groups?.specifier ?? ''))

/** `path:line: text` of each line of code, without comments, that matches `pattern`. */
export const findLines = ({ path, text }: Source, pattern: RegExp): readonly string[] =>
  text
    .split('\n')
    .map((line, index) => ({ line: withoutComment(line), place: `${path}:${index + 1}` }))
    .filter(({ line }) => pattern.test(line))
    .map(({ line, place }) => `${place}: ${line.trim()}`)

const withoutComment = (line: string): string => line.replace(/^\s*(\/?\*|\/\/).*|\s\/\/ .*/, '')
