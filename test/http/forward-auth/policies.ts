import { parseToken, type TokenKey } from '../../../src/domain/token.ts'
import type { Porthor } from '../../support/porthor/porthor.ts'
import { type HttpAnswer, send } from '../../support/requests/http.ts'

/** Policies of the tests. */
export const POLICIES = {
  check: { require: ['read:all'] },
  any: { require: ['read:tap', 'read:all'], satisfy: 'any' },
  tap: { require: ['read:all'], delegate: { service: 'tap', scopes: ['read:all', 'read:tap'] } },
  notebook: { delegate: { notebook: true } },
  long: { delegate: { service: 'tap' }, minimumLifetime: 3_600 },
  stays: { minimumLifetime: 3_600 },
  hidden: { delegate: { service: 'tap' }, authorization: 'remove' },
  kept: { delegate: { service: 'tap' }, authorization: 'keep' },
  removed: { authorization: 'remove' },
  inner: { onlyServices: ['tap', 'portal'] },
  mine: { username: 'wren' },
  open: { anonymous: true },
}

export const AUTH_ENV = {
  AUTH_PORT: '0',
  AUTH_POLICIES: JSON.stringify(POLICIES),
  SESSION_COOKIE: 'session',
}

export const basic = (username: string, password: string): string =>
  `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`

/** Sends a request for a policy, as a gateway does. */
export const askGateway = (
  h: Porthor,
  policy: string,
  headers: Record<string, string | readonly string[]> = {},
): Promise<HttpAnswer> => send(`${h.authUrl}auth/${policy}`, { headers: headers as Record<string, string> })

/** Sends a request with a token in `Authorization`. */
export const askWith = (h: Porthor, policy: string, bearer: string): Promise<HttpAnswer> =>
  askGateway(h, policy, { Authorization: `Bearer ${bearer}` })

/** The key of the delegated token in a response. */
export const delegatedKey = ({ headers }: HttpAnswer): TokenKey =>
  parseToken(String(headers['x-auth-request-token'])).key

/** Tokens of a delegated token's row: service, scopes, username, parent. */
export async function rowOf(h: Porthor, key: TokenKey) {
  const [row] = await h.sql<{ service: string | null; scopes: string; token_type: string; parent: string }>(
    'SELECT service, scopes, token_type, parent FROM token JOIN subtoken ON child = token WHERE token = $1',
    [key],
  )
  return row
}
