import { formatToken, NO_USER_INFO, type TokenData } from '../../../src/domain/token.ts'
import type { AskOptions } from '../requests/graphql.ts'
import type { Porthor } from './porthor.ts'

export interface GatewayFacts {
  readonly username?: string
  readonly scopes?: readonly string[]
}

/** A service token with which a gateway delegates, where `DELEGATION` is `gateway`. */
export const makeGateway = (
  h: Porthor,
  { username = 'bot-edge', scopes = ['delegate:token'] }: GatewayFacts = {},
): Promise<TokenData> =>
  h.context.services.tokens.createService(
    { actor: { kind: 'bootstrap' }, ipAddress: null },
    { username, scopes, expiresAt: null, userInfo: NO_USER_INFO },
  )

/** A request that a gateway makes for the holder of `subject`, a bearer string. */
export const onBehalfOf = (gateway: TokenData, subject: string): AskOptions => ({
  token: formatToken(gateway.token),
  headers: { 'X-Porthor-Subject-Token': `Bearer ${subject}` },
})
