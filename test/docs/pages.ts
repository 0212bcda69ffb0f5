import { execFileSync } from 'node:child_process'

export const PROJECT = new URL('../../', import.meta.url)

/** The paths of every page of Markdown in the repository. */
export const listPages = (): string[] =>
  execFileSync('git', ['ls-files', '*.md'], { cwd: PROJECT, encoding: 'utf8' }).trim().split('\n')
