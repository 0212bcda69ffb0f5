import { readFile } from 'node:fs/promises'

/** The cells of one row of a table in Markdown, by the heads of their columns. */
export type Row = Readonly<Record<string, string>>

/** The rows of the tables on a page of `docs/reference/` whose first column has `head`. */
export async function readRows(page: string, head: string): Promise<readonly Row[]> {
  const text = await readFile(new URL(`../../docs/reference/${page}`, import.meta.url), 'utf8')
  return text.split('\n\n').flatMap((block) => {
    const [first = '', , ...rows] = block.split('\n').filter((line) => line.startsWith('|'))
    const heads = cellsOf(first)
    if (heads[0] !== head) return []
    return rows.map((row) =>
      Object.fromEntries(cellsOf(row).map((cell, index) => [heads[index] ?? '', cell])),
    )
  })
}

const cellsOf = (line: string): string[] =>
  line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim())

/** What stands in backticks in a cell. */
export const quotedIn = (cell = ''): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text)

/** The name that a row is about: its first cell has nothing else. */
export function nameOf(row: Row): string {
  const [cell = ''] = Object.values(row)
  const [name] = quotedIn(cell)
  if (name === undefined || cell !== `\`${name}\``) throw new Error(`${cell} must be one name in backticks`)
  return name
}
