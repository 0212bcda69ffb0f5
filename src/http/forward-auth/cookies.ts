/**
 * Cookies of a request, read as Gafaelfawr's framework reads them, so that both programs find the same cookie. Pairs are
 * separated by semicolons, spaces around a name and a value do not count, and a value may be quoted.
 */

interface Cookie {
  /** Empty where there is no `=`. */
  readonly name: string
  readonly value: string
  /** As it was sent, without the spaces around it. */
  readonly text: string
}

/** Returns the value of the last cookie with this name. @param headers Values of the `Cookie` fields, in order. */
export function findCookie(headers: readonly string[], name: string): string | undefined {
  const found = headers.flatMap(parseCookies).findLast((cookie) => cookie.name === name)
  return found && unquote(found.value)
}

/** Returns the value of one `Cookie` field with all cookies except those that `isDropped` names; empty if none is left. */
export function withoutCookies(
  headers: readonly string[],
  isDropped: (name: string, value: string) => boolean,
): string {
  return headers
    .flatMap(parseCookies)
    .filter(({ name, value }) => !isDropped(name, value))
    .map(({ text }) => text)
    .join('; ')
}

function parseCookies(header: string): Cookie[] {
  return header
    .split(';')
    .map((part) => {
      const text = part.trim()
      const equals = text.indexOf('=')
      return equals < 0
        ? { name: '', value: text, text }
        : { name: text.slice(0, equals).trimEnd(), value: text.slice(equals + 1).trimStart(), text }
    })
    .filter(({ text }) => text !== '')
}

/** A character of a quoted value after a backslash: three octal digits, or any other character as it is. */
const ESCAPED = /\\(?:([0-3][0-7]{2})|(.))/g

/** Returns the text of a value that may be quoted. */
export function unquote(value: string): string {
  if (value.length < 2 || !value.startsWith('"') || !value.endsWith('"')) return value
  return value
    .slice(1, -1)
    .replace(ESCAPED, (_match, octal: string | undefined, other: string) =>
      octal === undefined ? other : String.fromCharCode(Number.parseInt(octal, 8)),
    )
}
