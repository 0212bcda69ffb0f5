/** Maximum length of a log line, in bytes: log collectors truncate or split longer lines. */
export const MAX_LINE_BYTES = 4_096

/** Maximum bytes of one UTF-16 code unit in UTF-8. */
const MAX_CHARACTER_BYTES = 3

/** Number of characters per text and of items per list that are kept of a line that is too long; tried in turn. */
const LENGTHS = [1_000, 200, 50, 10] as const

/** Fields of every line. */
const COMMON = ['level', 'time', 'msg'] as const

/** Returns a line of JSON that is short enough: truncates the texts and lists of a line that is too long. */
export function boundLine(line: string): string {
  const isShort =
    line.length * MAX_CHARACTER_BYTES <= MAX_LINE_BYTES || Buffer.byteLength(line) <= MAX_LINE_BYTES
  if (isShort) return line
  const fields = JSON.parse(line) as Record<string, unknown>
  for (const length of LENGTHS) {
    const shorter = `${JSON.stringify({ ...(cut(fields, length) as object), isCut: true })}\n`
    if (Buffer.byteLength(shorter) <= MAX_LINE_BYTES) return shorter
  }
  const common = Object.fromEntries(COMMON.map((name) => [name, cut(fields[name], LENGTHS[1])]))
  return `${JSON.stringify({ ...common, isCut: true })}\n`
}

function cut(value: unknown, length: number): unknown {
  if (typeof value === 'string') return value.length > length ? `${value.slice(0, length)}…` : value
  if (Array.isArray(value)) return value.slice(0, length).map((item) => cut(item, length))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [name.slice(0, length), cut(field, length)]),
  )
}
