import type { Config } from '../../config/config.ts'
import type { OAuthResult } from './endpoint.ts'
import { TOKEN_EXCHANGE } from './exchange-request.ts'
import { OAuthError } from './oauth-error.ts'

/** Path of the metadata where the issuer has no path of its own. */
const METADATA_PATH = '/.well-known/oauth-authorization-server'

export const TOKEN_PATH = '/oauth/token'
export const INTROSPECTION_PATH = '/oauth/introspect'
export const REVOCATION_PATH = '/oauth/revoke'

/** RFC 8414 3.1: the path of the metadata goes between the host and the path of the issuer. */
export function metadataPaths(publicUrl: string | undefined): readonly string[] {
  const path = publicUrl === undefined ? '/' : new URL(publicUrl).pathname
  return path === '/' ? [METADATA_PATH] : [METADATA_PATH, `${METADATA_PATH}${path}`]
}

type ServerConfig = Pick<Config, 'knownScopes' | 'delegationRights'>

/**
 * `GET /.well-known/oauth-authorization-server` (RFC 8414): describes this server to clients.
 *
 * @throws {OAuthError} With status 404 without an issuer, by whose URL clients would know this server.
 */
export function respondWithMetadata(issuer: string | undefined, config: ServerConfig): OAuthResult {
  if (issuer !== undefined) return { body: describeServer(issuer, config) }
  throw new OAuthError('invalid_request', 'There is no metadata: PUBLIC_URL is not set.', { status: 404 })
}

const describeServer = (issuer: string, { knownScopes, delegationRights }: ServerConfig): object => ({
  issuer,
  token_endpoint: `${issuer}${TOKEN_PATH}`,
  introspection_endpoint: `${issuer}${INTROSPECTION_PATH}`,
  revocation_endpoint: `${issuer}${REVOCATION_PATH}`,
  grant_types_supported: [TOKEN_EXCHANGE],
  // Required by RFC 8414, although there is no authorization endpoint.
  response_types_supported: [],
  scopes_supported: [...knownScopes.keys()].sort(),
  token_endpoint_auth_methods_supported: [
    ...(delegationRights.mode === 'gateway' ? [] : ['none']),
    'client_secret_basic',
  ],
  introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'Bearer'],
  revocation_endpoint_auth_methods_supported: ['none'],
})
