import { invalidRequest } from './oauth-error.ts'

/** Parameters of a request. One without a value counts as left out (RFC 6749 3.2). */
export interface Form {
  readonly get: (name: string) => string | undefined
  /** Names that occur more than once, with or without a value. */
  readonly repeated: ReadonlySet<string>
}

/** Many times the parameters of any request to these endpoints. */
const MAX_PARAMETERS = 100

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Decodes a name or a value of `application/x-www-form-urlencoded`, as RFC 6749 appendix B uses it.
 *
 * @throws {URIError} An escape is incomplete, or its bytes are not UTF-8.
 */
export const decodeFormText = (text: string): string => decodeURIComponent(text.replaceAll('+', ' '))

/**
 * Parses a body of `application/x-www-form-urlencoded`. Nothing is guessed: a value that two programs could read
 * differently is an error.
 *
 * @throws {OAuthError} `invalid_request`
 */
export function parseForm(body: Buffer): Form {
  const values = new Map<string, string>()
  const repeated = new Set<string>()
  for (const part of splitBody(body)) {
    const [, encodedName = '', encodedValue = ''] = /^([^=]*)=?(.*)$/s.exec(part) ?? []
    const name = decode(encodedName)
    if (values.has(name)) repeated.add(name)
    values.set(name, decode(encodedValue))
  }
  return { get: (name) => values.get(name) || undefined, repeated }
}

function splitBody(body: Buffer): readonly string[] {
  let text: string
  try {
    text = decoder.decode(body)
  } catch {
    throw invalidRequest('The body is not UTF-8.')
  }
  const parts = text.split('&', MAX_PARAMETERS + 1)
  if (parts.length > MAX_PARAMETERS) {
    throw invalidRequest(`The body has too many parameters: send at most ${MAX_PARAMETERS}.`)
  }
  return parts.filter((part) => part !== '')
}

function decode(text: string): string {
  try {
    return decodeFormText(text)
  } catch {
    throw invalidRequest(
      'A parameter is not application/x-www-form-urlencoded: write % as %25, and other characters in UTF-8.',
    )
  }
}

/**
 * @param handled Names of which the endpoint has its own rule.
 * @throws {OAuthError} `invalid_request`, if a parameter occurs more than once (RFC 6749 3.2).
 */
export function requireSingle({ repeated }: Form, handled: readonly string[] = []): void {
  const name = [...repeated].find((each) => !handled.includes(each))
  if (name === undefined) return
  throw invalidRequest(`The parameter ${JSON.stringify(name)} occurs more than once: send it once.`)
}

/** @throws {OAuthError} `invalid_request` */
export function requireParameter(form: Form, name: string): string {
  const value = form.get(name)
  if (value !== undefined) return value
  throw invalidRequest(`The parameter ${name} is required.`)
}
