// RFC 9110 11.1: the scheme's case does not matter. RFC 6750 2.1: one or more spaces follow it.
const BEARER = /^bearer +(\S+) *$/i

/**
 * Returns the token in an `Authorization` header (RFC 6750, section 2.1); `undefined` where there is no header; the
 * empty string where the header has another form.
 */
export function parseBearer(header: string | null | undefined): string | undefined {
  if (header === null || header === undefined || header === '') return undefined
  return BEARER.exec(header)?.[1] ?? ''
}
