import { type Authorization, parseAuthorization } from '../authorization.ts'
import { decodeFormText, type Form } from './form.ts'
import { invalidRequest, OAuthError } from './oauth-error.ts'

/** How a client authenticates: with a token of ours as a bearer token, or as the password of its username. */
export type ClientCredentials =
  | { readonly scheme: 'Bearer'; readonly bearer: string }
  | { readonly scheme: 'Basic'; readonly bearer: string; readonly username: string }

type Scheme = ClientCredentials['scheme']

type BasicAuthorization = Extract<Authorization, { readonly scheme: 'basic' }>

const CHALLENGES: Readonly<Record<Scheme, string>> = {
  Basic: 'Basic realm="porthor", charset="UTF-8"',
  Bearer: 'Bearer realm="porthor", error="invalid_token"',
}

/** RFC 6750 3.1: the challenge to a request without credentials has no error code. */
const BOTH_CHALLENGES = `${CHALLENGES.Basic}, Bearer realm="porthor"`

/** Parameters of methods of client authentication that are not supported. */
const SECRET_PARAMETERS = ['client_secret', 'client_assertion', 'client_assertion_type']

/**
 * Parses the `Authorization` field of a client.
 *
 * @throws {OAuthError} `invalid_client`, if it has another form.
 */
export function parseClientCredentials(field: string): ClientCredentials {
  const authorization = parseAuthorization(field)
  if (authorization.scheme === 'bearer') return { scheme: 'Bearer', bearer: authorization.token }
  if (authorization.scheme === 'basic') return decodeBasic(authorization)
  throw invalidClient('The scheme of the Authorization field is not supported: use Basic or Bearer.')
}

/** RFC 6749 2.3.1: username and password are form-encoded, each by itself, before they are joined. */
function decodeBasic({ username, password }: BasicAuthorization): ClientCredentials {
  try {
    return { scheme: 'Basic', username: decodeFormText(username), bearer: decodeFormText(password) }
  } catch {
    throw wrongCredentials('Basic')
  }
}

/**
 * @param hasField Whether the client has authenticated by the `Authorization` field.
 * @throws {OAuthError} `invalid_client`, if there are credentials among the parameters; `invalid_request`, if these are
 *   second ones (RFC 6749 2.3).
 */
export function requireNoParameterCredentials(form: Form, hasField: boolean): void {
  const name = SECRET_PARAMETERS.find((each) => form.get(each) !== undefined)
  if (name === undefined) return
  if (hasField) throw invalidRequest(`Send the Authorization field only, without ${name}.`)
  throw invalidClient(`The parameter ${name} is not supported: send the Authorization field.`)
}

const invalidClient = (description: string): OAuthError =>
  new OAuthError('invalid_client', description, {
    status: 401,
    headers: { 'WWW-Authenticate': BOTH_CHALLENGES },
  })

export const missingCredentials = (): OAuthError =>
  invalidClient(
    'Client authentication is required: send Basic with username and bearer string, or Bearer with the bearer string.',
  )

/** RFC 6749 5.2: the challenge has the scheme that the client used. */
export const wrongCredentials = (scheme: Scheme): OAuthError =>
  new OAuthError('invalid_client', 'The token of the client is malformed, unknown, expired or revoked.', {
    status: 401,
    headers: { 'WWW-Authenticate': CHALLENGES[scheme] },
  })
