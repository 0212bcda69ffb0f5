import type { IncomingMessage } from 'node:http'
import type { BodyReader } from '../read-body.ts'
import {
  type ClientCredentials,
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
import { parseForm } from './form.ts'
import { OAuthError, temporarilyUnavailable } from './oauth-error.ts'
import type { TokenAuthentication } from './token-authentication.ts'

export interface FormRequestDeps {
  readonly tokens: TokenAuthentication
  readonly bodies: BodyReader
}

const FORM_TYPE = /^application\/x-www-form-urlencoded\s*(;\s*charset="?utf-8"?\s*)?$/i

/**
 * Passes a request on to an endpoint that takes a form. The client is authenticated when the body is complete: that may take
 * a while, in which its token may be revoked.
 *
 * @returns `undefined` if the client has closed the connection.
 */
export async function respondToForm(
  deps: FormRequestDeps,
  endpoint: OAuthEndpoint,
  request: IncomingMessage,
  call: OAuthCall,
): Promise<OAuthResult | undefined> {
  requireMethod(request, ['POST'])
  requireFormType(request)
  const credentials = endpoint.client === 'ignored' ? undefined : credentialsOf(request)
  if (endpoint.client === 'required' && !credentials) throw missingCredentials()
  if (credentials && deps.tokens.isOverLimit(call.ipAddress)) {
    // Refuses before the body is read: the token is most likely one more that is not valid.
    await deps.tokens.authenticateClient(credentials, call.ipAddress)
  }
  const body = await readBody(deps.bodies, request)
  if (!body) return undefined
  try {
    const client = credentials && (await authenticate(deps.tokens, credentials, call))
    const form = parseForm(body)
    if (endpoint.client !== 'ignored') requireNoParameterCredentials(form, client !== undefined)
    return await endpoint.respond({ ...call, form, client })
  } finally {
    deps.bodies.release(body)
  }
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

const credentialsOf = ({ headers: { authorization } }: IncomingMessage): ClientCredentials | undefined =>
  authorization ? parseClientCredentials(authorization) : undefined

async function authenticate(
  tokens: TokenAuthentication,
  credentials: ClientCredentials,
  { ipAddress, trace }: OAuthCall,
): Promise<AuthenticatedClient> {
  const actor = await tokens.authenticateClient(credentials, ipAddress)
  traceActor(trace, actor)
  return { actor, scheme: credentials.scheme }
}

/** Returns the body, which counts as held until it is released; `undefined` if the client has closed the connection. */
async function readBody(bodies: BodyReader, request: IncomingMessage): Promise<Buffer | undefined> {
  const body = await bodies.read(request)
  switch (body) {
    case 'aborted':
      return undefined
    case 'no room':
      throw temporarilyUnavailable(
        'Too many request bodies are arriving. Nothing was done: please try again.',
      )
    case 'too large':
      throw new OAuthError('invalid_request', 'The body is too large: send at most 256 KiB.', { status: 413 })
    default:
      return body
  }
}
