/** Longest line of the log, in bytes: log collectors cut longer ones, or split them into several. */
export const MAX_LINE_BYTES = 4_096

/** Bytes of a character of JavaScript in UTF-8, at the most. */
const MAX_CHARACTER_BYTES = 3

/** Characters of a text, and items of a list, that are kept of a line that is too long; the next where they do not do. */
const LENGTHS = [1_000, 200, 50, 10] as const

/** Fields that every line has. */
const COMMON = ['level', 'time', 'msg'] as const

/** A line of JSON as it may be written: of one that is too long the texts and lists are cut. */
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
