import { formatScopes } from '../../domain/scope.ts'
import { serviceOf, type TokenData } from '../../domain/token.ts'

/** What a service learns of the user, by response header. A value that is not known is the empty string. */
export interface IdentityHeaders {
  readonly 'X-Auth-Request-User': string
  readonly 'X-Auth-Request-Email': string
  readonly 'X-Auth-Request-Uid': string
  readonly 'X-Auth-Request-Groups': string
  readonly 'X-Auth-Request-Scopes': string
  /** Service of the current token, if it is an internal token. */
  readonly 'X-Auth-Request-Service': string
}

/** Headers of a request without an identity. Sent empty, they overwrite those that the client sent. */
export const NO_IDENTITY: IdentityHeaders = {
  'X-Auth-Request-User': '',
  'X-Auth-Request-Email': '',
  'X-Auth-Request-Uid': '',
  'X-Auth-Request-Groups': '',
  'X-Auth-Request-Scopes': '',
  'X-Auth-Request-Service': '',
}

/** Returns the identity headers of a token. */
export const identityHeaders = (data: TokenData): IdentityHeaders => ({
  'X-Auth-Request-User': encodeHeaderValue(data.username),
  'X-Auth-Request-Email': encodeHeaderValue(data.userInfo.email ?? ''),
  'X-Auth-Request-Uid': String(data.userInfo.uid ?? ''),
  'X-Auth-Request-Groups': encodeList((data.userInfo.groups ?? []).map(({ name }) => name)),
  'X-Auth-Request-Scopes': encodeList(data.scopes),
  'X-Auth-Request-Service': encodeHeaderValue(serviceOf(data) ?? ''),
})

/** Printable ASCII without `%`; also without a space at either end, which a proxy would cut off. */
const PLAIN = /^(?! )[\x20-\x24\x26-\x7e]*(?<! )$/

const PLAIN_ITEM = /^[\x21-\x24\x26-\x2b\x2d-\x7e]*$/

/** Encodes a value for a header: UTF-8 and percent-encoding of all that is not printable ASCII, and of `%`. */
export const encodeHeaderValue = (text: string): string =>
  PLAIN.test(text) ? text : encodeBytes(text, /^ | $|[^\x20-\x24\x26-\x7e]/g)

/** Encodes items and joins them by commas. A comma and a space in an item are encoded too. */
const encodeList = (items: readonly string[]): string =>
  items.every((item) => PLAIN_ITEM.test(item))
    ? formatScopes(items)
    : items.map((item) => encodeBytes(item, /[^\x21-\x24\x26-\x2b\x2d-\x7e]/g)).join(',')

/** @param encoded Matches the characters to encode, of a text that has one character for each byte. */
const encodeBytes = (text: string, encoded: RegExp): string =>
  Buffer.from(text, 'utf8')
    .toString('latin1')
    .replace(encoded, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
