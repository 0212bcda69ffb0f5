/** Writes a line to standard output. */
export const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

/** Writes a line to standard error, for people: what is printed is for programs too. */
export const note = (line: string): void => {
  process.stderr.write(`porthor: ${line}\n`)
}

/** Controls, breaks of lines, and what turns the direction of writing. */
const CONTROLS = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu

/** `text` with the characters escaped that a terminal would obey: clients choose names, and may choose these. */
export const escapeControls = (text: string): string =>
  text.replace(CONTROLS, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** How often progress is shown, in milliseconds. */
const INTERVAL_MS = 500

/**
 * Shows how many records are done and how fast, where a terminal looks on; elsewhere nothing. It stands
 * in one line of standard error, which `end` clears.
 */
export function showProgress(noun: string): { update: (done: number) => void; end: () => void } {
  if (!process.stderr.isTTY) return { update: () => undefined, end: () => undefined }
  const startedAt = performance.now()
  let shownAt = startedAt
  return {
    update: (done) => {
      const now = performance.now()
      if (now - shownAt < INTERVAL_MS) return
      shownAt = now
      const rate = Math.round((done / (now - startedAt)) * 1000)
      process.stderr.write(`\r\x1b[K${done} ${noun}, ${rate}/s`)
    },
    end: () => process.stderr.write('\r\x1b[K'),
  }
}

/** Rows in columns as wide as their widest cell, with no control character. */
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
