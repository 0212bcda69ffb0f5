import { type Form, requireParameter, requireSingle } from './form.ts'
import { invalidRequest, OAuthError } from './oauth-error.ts'

/** RFC 8693 2.1. */
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'

/** RFC 8693 3. */
export const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

export const NOTEBOOK = 'urn:porthor:params:oauth:token-type:notebook'

/** What is to be issued: a token for a service, or one for the user's notebook. */
export type Target =
  | {
      readonly issuedType: typeof ACCESS_TOKEN
      readonly service: string
      /** `undefined` where none are named. */
      readonly scopes: readonly string[] | undefined
    }
  | { readonly issuedType: typeof NOTEBOOK }

/** A request for a token exchange, before any of its tokens is looked at. */
export interface ExchangeRequest {
  readonly target: Target
  readonly subject: string
  /** Bearer string of the acting party, where there is one. */
  readonly actor: string | undefined
  /** In seconds. */
  readonly minimumLifetime: number | undefined
}

/** Parses the parameters of RFC 8693 2.1. @throws {OAuthError} */
export function parseExchange(form: Form): ExchangeRequest {
  // Several audiences or resources have an error code of their own.
  requireSingle(form, ['audience', 'resource'])
  if (requireParameter(form, 'grant_type') !== TOKEN_EXCHANGE) {
    throw new OAuthError('unsupported_grant_type', `grant_type must be ${TOKEN_EXCHANGE}.`)
  }
  const subject = requireParameter(form, 'subject_token')
  requireTokenType(form, 'subject_token_type')
  return {
    subject,
    target: parseTarget(form),
    actor: parseActor(form),
    minimumLifetime: parseMinimumLifetime(form),
  }
}

function parseTarget(form: Form): Target {
  if (form.get('resource') !== undefined || form.repeated.has('resource')) {
    throw new OAuthError('invalid_target', 'resource is not supported: name the service in audience.')
  }
  if (form.repeated.has('audience')) {
    throw new OAuthError('invalid_target', 'A token is for one service: send one audience.')
  }
  const issuedType = form.get('requested_token_type') ?? ACCESS_TOKEN
  const service = form.get('audience')
  const scope = form.get('scope')
  if (issuedType === NOTEBOOK) return parseNotebook(service, scope)
  if (issuedType !== ACCESS_TOKEN) {
    throw invalidRequest(`requested_token_type must be ${ACCESS_TOKEN} or ${NOTEBOOK}.`)
  }
  if (service === undefined) throw invalidRequest('The parameter audience is required: name the service.')
  return { issuedType, service, scopes: scope?.split(' ').filter(Boolean) }
}

function parseNotebook(service: string | undefined, scope: string | undefined): Target {
  if (service !== undefined) {
    throw new OAuthError('invalid_target', 'A notebook token is for no service: leave audience out.')
  }
  if (scope === undefined) return { issuedType: NOTEBOOK }
  throw new OAuthError(
    'invalid_scope',
    'A notebook token has all delegable scopes of subject_token: leave scope out.',
  )
}

function parseActor(form: Form): string | undefined {
  const actor = form.get('actor_token')
  if (actor !== undefined) requireTokenType(form, 'actor_token_type')
  else if (form.get('actor_token_type') !== undefined) {
    // RFC 8693 2.1.
    throw invalidRequest('actor_token_type is only for a request with actor_token: leave it out.')
  }
  return actor
}

function parseMinimumLifetime(form: Form): number | undefined {
  const text = form.get('minimum_lifetime')
  if (text === undefined) return undefined
  if (/^\d{1,10}$/.test(text)) return Number(text)
  throw invalidRequest('minimum_lifetime must be a whole number of seconds.')
}

function requireTokenType(form: Form, name: string): void {
  if (requireParameter(form, name) === ACCESS_TOKEN) return
  throw invalidRequest(`${name} must be ${ACCESS_TOKEN}.`)
}
