const TOKEN = /gt-[\w-]{22}\.[\w-]{22}/
const PREFIX = 'gt-'
const TOKEN_LENGTH = 48

/** Characters that may stand between the parts of a token in a header field, or before one: spaces, quotes, escapes. */
const SEPARATORS = /[\s\0"'\\,;]+/g

/** Text that may be a token in base64 or base64url, after what comes before it in the same text. */
const BASE64_RUN = /[A-Za-z0-9+/_-]{64,}/g

const NOT_BASE64 = /[^A-Za-z0-9+/_-]+/g

/** The prefix in base64, after a multiple of three characters, and after one and two more. */
const PREFIX_IN_BASE64 = /Z3Qt|d0L|ndC[01]/

/** A text, also in UTF-16: base64 that is decoded from a wrong place is not one. */
const TEXT = /^[\x20-\x7e\s\0]*$/

/** Place of characters of base64 that are a part of the token, and not of a scheme before it. Multiples of four. */
const SAMPLE_START = 24
const SAMPLE_END = 64

/** How often a text is decoded: a token in base64, which is in base64 or percent-encoded itself. */
const MAX_DEPTH = 2

/**
 * Whether a value of a header field has a bearer string of ours in it: behind any scheme, split by spaces or quotes,
 * percent-encoded, or in base64. A value that only looks so counts, as no other token has this form.
 */
export const carriesToken = (value: string): boolean => carries(value, MAX_DEPTH)

function carries(text: string, depth: number): boolean {
  if (text.length < TOKEN_LENGTH) return false
  if (hasToken(text)) return true
  const joined = text.replace(SEPARATORS, '')
  if (joined !== text && hasToken(joined)) return true
  if (depth === 0) return false
  return (
    (joined.includes('%') && carries(decodePercent(joined), depth - 1)) ||
    carriesInRuns(joined, depth) ||
    // Decoders of base64 skip other characters.
    carriesInRuns(joined.replace(NOT_BASE64, ''), depth)
  )
}

// Most texts do not have the prefix, and a search for it is much faster than one for the pattern.
const hasToken = (text: string): boolean => text.includes(PREFIX) && TOKEN.test(text)

const carriesInRuns = (text: string, depth: number): boolean =>
  text.match(BASE64_RUN)?.some((run) => carriesInBase64(run, depth)) === true

function carriesInBase64(run: string, depth: number): boolean {
  const hasPrefix = PREFIX_IN_BASE64.test(run)
  // A scheme without a separator before the base64 shifts it.
  for (let shift = 0; shift < 4; shift += 1) {
    if (hasPrefix && hasToken(decodeBase64(run.slice(shift)))) return true
    if (!TEXT.test(decodeBase64(run.slice(shift + SAMPLE_START, shift + SAMPLE_END)))) continue
    if (carries(decodeBase64(run.slice(shift)), depth - 1)) return true
  }
  return false
}

const decodeBase64 = (text: string): string => Buffer.from(text, 'base64').toString('latin1')

const PERCENT = 0x25

function decodePercent(text: string): string {
  const bytes = Buffer.allocUnsafe(text.length)
  let length = 0
  for (let at = 0; at < text.length; at += 1) {
    let code = text.charCodeAt(at)
    if (code === PERCENT) {
      const high = hexDigit(text.charCodeAt(at + 1))
      const low = hexDigit(text.charCodeAt(at + 2))
      if (high >= 0 && low >= 0) {
        code = 16 * high + low
        at += 2
      }
    }
    bytes[length] = code
    length += 1
  }
  return bytes.toString('latin1', 0, length)
}

/** Returns the value of a hexadecimal digit; -1 for any other character. */
function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const letter = code | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}
