import { isIP } from 'node:net'
import proxyaddr from 'proxy-addr'
import { z } from 'zod'
import { parseAddressFilter } from '../domain/ip-address.ts'
import { DAY_SECONDS } from '../domain/lifetime.ts'
import { parseDuration } from '../lib/duration.ts'

/**
 * The schema of a setting's text. Its description names the valid texts in Markdown. Its messages continue a sentence
 * that begins with the setting's name, and quote nothing: any text may be a misplaced secret.
 */
export type Kind<T> = z.ZodType<T, string>

/**
 * Creates a kind.
 *
 * @param values Names the valid texts.
 * @param parse Throws for any other text.
 * @param required Message where a required setting is not set.
 */
export const parsed = <T>(values: string, parse: (text: string) => T, required = 'is required'): Kind<T> =>
  z
    .string(required)
    .transform((text, { addIssue }) => {
      try {
        return parse(text)
      } catch (error) {
        addIssue((error as Error).message)
        return z.NEVER
      }
    })
    .register(z.globalRegistry, { description: values })

/** Maximum of every duration, in seconds: a hundred years, so that every time computed with it can be stored. */
const MAX_DURATION_SECONDS = 100 * 365 * DAY_SECONDS

/** A duration of at least `min` seconds, in seconds. */
export const duration = (min: number): Kind<number> =>
  parsed(min > 1 ? `duration, at least \`${min}s\`` : 'duration', (text) => {
    const seconds = parseDuration(text)
    if (seconds !== undefined && seconds >= min && seconds <= MAX_DURATION_SECONDS) return seconds
    throw new Error(
      `must be a duration such as 30d or 1h30m (units w d h m s) of at least ${min}s and at most ${MAX_DURATION_SECONDS / DAY_SECONDS}d`,
    )
  })

export function integer(min: number, max: number): Kind<number> {
  const error = `must be a whole number from ${min} to ${max}`
  return z
    .string()
    .regex(/^\d+$/, error)
    .transform(Number)
    .pipe(z.number().min(min, error).max(max, error))
    .register(z.globalRegistry, { description: `${min} to ${max.toLocaleString('en')}` })
}

const FLAGS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['on', true],
  ['1', true],
  ['false', false],
  ['off', false],
  ['0', false],
])

/** Not `z.stringbool`: after its error, settings are not compared with each other, and not all errors are reported. */
export const flag = (): Kind<boolean> =>
  parsed('flag', (text) => {
    const value = FLAGS.get(text.toLowerCase())
    if (value === undefined) throw new Error('must be true or false')
    return value
  })

export const oneOf = <const T extends string>(values: readonly T[]): Kind<T> =>
  parsed(values.map((value) => `\`${value}\``).join(', '), (text) => {
    const found = values.find((value) => value === text)
    if (found === undefined) throw new Error(`must be one of: ${values.join(', ')}`)
    return found
  })

/** A misspelt `production` would start with generated secrets and GraphiQL. */
export const mode = (): Kind<string> =>
  parsed('`production`, or a name that does not begin with `prod`', (text) => {
    if (text === 'production' || !/^prod/i.test(text)) return text
    throw new Error('must be production, or a name that does not begin with prod')
  })

/** Splits a list at commas and white space. */
export const splitList = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean)

/** Looser than RFC 1123 section 2.1: names of containers contain `_` too. */
const HOST_NAME = /^\w[\w.-]*$/

export const host = (): Kind<string> =>
  parsed('address or host name', (text) => {
    if (isIP(text) || HOST_NAME.test(text)) return text
    throw new Error('must be an address, such as 127.0.0.1, :: (without brackets) or 0.0.0.0, or a host name')
  })

/** An issuer (RFC 8414 section 2), without a `/` at its end, so that paths can be appended. */
export const publicUrl = (): Kind<string> =>
  parsed('URL', (text) => {
    const url = URL.canParse(text) ? new URL(text) : undefined
    const isPlain = url !== undefined && `${url.origin}${url.pathname}` === url.href
    if (isPlain && /^https?:$/.test(url.protocol)) return url.href.replace(/\/+$/, '')
    throw new Error('must be a URL that begins with https:// or http://, without user, query and fragment')
  })

/** RFC 6265, section 4.1.1: a token of RFC 9110. */
const COOKIE_NAME = /^[!#$%&'*+.^_`|~\w-]+$/

export const cookieName = (): Kind<string> =>
  parsed('name of a cookie', (text) => {
    if (COOKIE_NAME.test(text)) return text
    throw new Error('must be the name of a cookie, without spaces and separators')
  })

export const addressBlocks = (): Kind<readonly string[]> =>
  parsed('list of addresses and CIDR blocks', (text) => {
    const blocks = splitList(text)
    const place = blocks.findIndex((block) => !isAddressOrBlock(block))
    if (place < 0) return blocks
    throw new Error(
      `must be full IP addresses, or CIDR blocks such as 10.0.0.0/8 with no bits set after the prefix, separated by commas: entry ${place + 1} is neither`,
    )
  })

/** Whether `text` is a full address or CIDR block. proxy-addr also accepts `10/8`, which means 0.0.0.10/8. */
function isAddressOrBlock(text: string): boolean {
  try {
    proxyaddr.compile([text])
    parseAddressFilter(text)
    return true
  } catch {
    return false
  }
}
