import type { IncomingMessage } from 'node:http'
import type { BodyReader } from '../read-body.ts'
import {
  missingCredentials,
  parseClientCredentials,
  requireNoParameterCredentials,
} from './client-credentials.ts'
import {
  type AuthenticatedClient,
  type OAuthCall,
  type OAuthEndpoint,
  type OAuthResult,
  requireMethod,
  traceActor,
} from './endpoint.ts'
import { type Form, parseForm } from './form.ts'
import { OAuthError, temporarilyUnavailable } from './oauth-error.ts'
import type { TokenAuthentication } from './token-authentication.ts'

export interface FormRequestDeps {
  readonly tokens: TokenAuthentication
  readonly bodies: BodyReader
}

const FORM_TYPE = /^application\/x-www-form-urlencoded\s*(;\s*charset="?utf-8"?\s*)?$/i

/**
 * Passes a request on to an endpoint that takes a form. The client is authenticated before the body is read: the body of
 * one that must authenticate and cannot costs nothing.
 *
 * @returns `undefined` if the client has closed the connection.
 */
export async function respondToForm(
  { tokens, bodies }: FormRequestDeps,
  endpoint: OAuthEndpoint,
  request: IncomingMessage,
  call: OAuthCall,
): Promise<OAuthResult | undefined> {
  requireMethod(request, ['POST'])
  requireFormType(request)
  const client = endpoint.client === 'ignored' ? undefined : await findClient(tokens, request, call)
  if (endpoint.client === 'required' && !client) throw missingCredentials()
  const form = await readForm(bodies, request)
  if (!form) return undefined
  if (endpoint.client !== 'ignored') requireNoParameterCredentials(form, client !== undefined)
  return endpoint.respond({ ...call, form, client })
}

function requireFormType({ headers }: IncomingMessage): void {
  const { 'content-type': type = '', 'content-encoding': encoding } = headers
  if (FORM_TYPE.test(type) && encoding === undefined) return
  throw new OAuthError(
    'invalid_request',
    encoding === undefined
      ? 'The Content-Type must be application/x-www-form-urlencoded, in UTF-8.'
      : 'The body must have no Content-Encoding.',
    { status: 415 },
  )
}

async function findClient(
  tokens: TokenAuthentication,
  { headers: { authorization } }: IncomingMessage,
  { ipAddress, trace }: OAuthCall,
): Promise<AuthenticatedClient | undefined> {
  if (!authorization) return undefined
  const credentials = parseClientCredentials(authorization)
  const actor = await tokens.authenticateClient(credentials, ipAddress)
  traceActor(trace, actor)
  return { actor, scheme: credentials.scheme }
}

async function readForm(bodies: BodyReader, request: IncomingMessage): Promise<Form | undefined> {
  const body = await bodies.read(request)
  if (body === 'aborted') return undefined
  if (body === 'no room') {
    throw temporarilyUnavailable('Too many request bodies are arriving. Nothing was done: please try again.')
  }
  if (body === 'too large') {
    throw new OAuthError('invalid_request', 'The body is too large: send at most 256 KiB.', { status: 413 })
  }
  try {
    return parseForm(body)
  } finally {
    bodies.release(body)
  }
}
