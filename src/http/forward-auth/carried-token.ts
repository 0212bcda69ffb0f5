const TOKEN = /gt-[\w-]{22}\.[\w-]{22}/i
const TOKEN_LENGTH = 48

/** Characters that may stand between the parts of a token in a header field, or before one: spaces, quotes, escapes. */
const SEPARATORS = /[\s\0"'\\,;]+/g

/** Text that may be a token in base64 or base64url, after what comes before it in the same text. */
const BASE64_RUN = /[A-Za-z0-9+/_-]{64,}/g

/** How often a text is decoded: a token in base64, which is in base64 or percent-encoded itself. */
const MAX_DEPTH = 2

/**
 * Whether a value of a header field has a bearer string of ours in it: behind any scheme, split by spaces or quotes,
 * percent-encoded, or in base64. A value that only looks so counts, as no other token has this form.
 */
export function carriesToken(value: string, depth = MAX_DEPTH): boolean {
  if (value.length < TOKEN_LENGTH) return false
  if (TOKEN.test(value)) return true
  const joined = value.replace(SEPARATORS, '')
  return (
    TOKEN.test(joined) || (depth > 0 && decodingsOf(joined).some((text) => carriesToken(text, depth - 1)))
  )
}

function decodingsOf(text: string): string[] {
  const decoded = text.includes('%') ? [decodePercent(text)] : []
  for (const [run] of text.matchAll(BASE64_RUN)) {
    // A scheme without a separator before the base64 shifts it.
    for (let shift = 0; shift < 4; shift += 1) {
      decoded.push(Buffer.from(run.slice(shift), 'base64').toString('latin1'))
    }
  }
  return decoded
}

const decodePercent = (text: string): string =>
  text.replace(/%([0-9a-f]{2})/gi, (_match, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
