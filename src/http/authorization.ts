import type { IncomingMessage } from 'node:http'
import { valuesOf } from './request-head.ts'

/** The value of an `Authorization` field. */
export type Authorization =
  /** RFC 6750, section 2.1. `token` is all that follows the scheme, and may be empty. */
  | { readonly scheme: 'bearer'; readonly token: string }
  /** RFC 7617. Both are empty where the value is not base64 of a text with a colon. */
  | { readonly scheme: 'basic'; readonly username: string; readonly password: string }
  /** Another scheme, or none. */
  | { readonly scheme: 'other' }

const OTHER: Authorization = { scheme: 'other' }

// RFC 9110 11.1: the scheme's case does not matter.
const SCHEME = /^(?:bearer|basic)(?=[ \t]|$)/i

/** Parses the value of an `Authorization` field. Blanks around the scheme and the value do not count. */
export function parseAuthorization(value: string): Authorization {
  const text = trimBlanks(value)
  const [scheme] = SCHEME.exec(text) ?? []
  if (scheme === undefined) return OTHER
  const rest = trimBlanks(text.slice(scheme.length))
  return scheme.length === 'bearer'.length ? { scheme: 'bearer', token: rest } : parseBasic(rest)
}

const isBlank = (character: string | undefined): boolean => character === ' ' || character === '\t'

/** In linear time: a pattern such as `[ \t]*$` takes seconds on a field of 64 KiB with blanks in the middle. */
function trimBlanks(text: string): string {
  let [start, end] = [0, text.length]
  while (start < end && isBlank(text[start])) start += 1
  while (end > start && isBlank(text[end - 1])) end -= 1
  return text.slice(start, end)
}

function parseBasic(value: string): Authorization {
  const text = decodeBase64(value)
  const colon = text.indexOf(':')
  return colon < 0
    ? { scheme: 'basic', username: '', password: '' }
    : { scheme: 'basic', username: text.slice(0, colon), password: text.slice(colon + 1) }
}

const BASE64 = /^[\w+/-]+={0,2}$/

/** Returns the empty string for what is not base64, in either alphabet. */
const decodeBase64 = (value: string): string =>
  BASE64.test(value) ? Buffer.from(value, 'base64').toString('utf8') : ''

/** Returns the values of all `Authorization` fields, in the order in which they were sent. */
export function authorizationValues(request: IncomingMessage): readonly string[] {
  const { authorization } = request.headers
  if (authorization === undefined) return NOTHING
  // Several fields were joined by commas.
  return authorization.includes(',') ? valuesOf(request, 'authorization') : [authorization]
}

const NOTHING: readonly string[] = []
