import { systemClock } from '../lib/clock.ts'

/** Writes a line to standard output. */
export const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

/** Writes a line to standard error, for people: a program may read standard output. */
export const note = (line: string): void => {
  process.stderr.write(`porthor: ${line}\n`)
}

/** Control characters, line and paragraph separators, and characters that change the direction of text. */
const CONTROLS = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu

/** Escapes the characters of `text` on which a terminal would act: clients choose names, and may use these. */
export const escapeControls = (text: string): string =>
  text.replace(CONTROLS, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** Time between two updates of the progress line, in milliseconds. */
const PROGRESS_INTERVAL_MS = 500

/**
 * Shows the number of processed records and their rate in one line of standard error, which `end` clears. Does nothing
 * where standard error is not a terminal.
 */
export function showProgress(noun: string): { update: (done: number) => void; end: () => void } {
  if (!process.stderr.isTTY) return { update: () => undefined, end: () => undefined }
  const startedAt = systemClock.monotonicMs()
  let shownAt = startedAt
  return {
    update: (done) => {
      const now = systemClock.monotonicMs()
      if (now - shownAt < PROGRESS_INTERVAL_MS) return
      shownAt = now
      const rate = Math.round((done / (now - startedAt)) * 1000)
      process.stderr.write(`\r\x1b[K${done} ${noun}, ${rate}/s`)
    },
    end: () => process.stderr.write('\r\x1b[K'),
  }
}

/** Returns the rows in aligned columns, with control characters escaped. */
export function formatTable(cells: readonly (readonly string[])[]): string {
  const rows = cells.map((row) => row.map(escapeControls))
  const widths: number[] = []
  for (const row of rows)
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length)
    })
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
