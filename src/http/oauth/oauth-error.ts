import { redact } from '../../domain/token.ts'

/** Error codes of RFC 6749 5.2, RFC 6750 3.1, RFC 7009 2.2.1, RFC 8693 2.2.2, and for servers RFC 6749 4.1.2.1. */
export const OAUTH_ERRORS = [
  'insufficient_scope',
  'invalid_client',
  'invalid_request',
  'invalid_scope',
  'invalid_target',
  'server_error',
  'temporarily_unavailable',
  'unauthorized_client',
  'unsupported_grant_type',
  'unsupported_token_type',
] as const

export type OAuthErrorCode = (typeof OAUTH_ERRORS)[number]

interface OAuthErrorOptions {
  /** Default: 400, as in RFC 6749 5.2. */
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
}

/** Length of a description, in characters: it may quote what the client sent. */
const MAX_DESCRIPTION_LENGTH = 500

/** What RFC 6749 5.2 leaves out of a description. */
const NOT_ALLOWED = /[^\x20-\x21\x23-\x5b\x5d-\x7e]/g

/** A response of an OAuth endpoint that is an error. Clients see its message. */
export class OAuthError extends Error {
  override readonly name = 'OAuthError'
  readonly error: OAuthErrorCode
  readonly status: number
  readonly headers: Readonly<Record<string, string>>

  /** @param description States what is wrong, and what would be right. */
  constructor(
    error: OAuthErrorCode,
    description: string,
    { status = 400, headers = {} }: OAuthErrorOptions = {},
  ) {
    super(toDescription(description))
    this.error = error
    this.status = status
    this.headers = headers
  }
}

/** Returns `text` without bearer strings, in the characters of RFC 6749, and not too long. */
function toDescription(text: string): string {
  const allowed = redact(text).replaceAll('"', "'").replaceAll('…', '...').replaceAll(NOT_ALLOWED, '?')
  return allowed.length > MAX_DESCRIPTION_LENGTH ? `${allowed.slice(0, MAX_DESCRIPTION_LENGTH)}...` : allowed
}

export const invalidRequest = (description: string): OAuthError =>
  new OAuthError('invalid_request', description)

/** A store did not respond: unknown is not invalid, and the request can be repeated. */
export const temporarilyUnavailable = (description: string): OAuthError =>
  new OAuthError('temporarily_unavailable', description, { status: 503, headers: { 'Retry-After': '1' } })
