import { randomUUID } from 'node:crypto'
import { formatScopes, toScopes } from '../../../src/domain/scope.ts'
import { NO_USER_INFO, type TokenData, type UserInfo } from '../../../src/domain/token.ts'
import { formatTimestamp } from '../../../src/stores/database/timestamp.ts'
import type { TokenStore } from '../../../src/stores/token-store/token-store.ts'
import type { Porthor } from './porthor.ts'

/** Lifetime of a delegated token with `SHORT_LIVED`, in seconds, where its parent does not expire earlier. */
export const LIFE = 3_600

/** Settings of tests that count a delegated token's seconds. */
export const SHORT_LIVED = { DELEGATED_TOKEN_LIFETIME: `${LIFE}s` }

export const IP = '192.0.2.20'

export interface ParentFacts {
  readonly username?: string
  readonly scopes?: readonly string[]
  /** In seconds from now; `null` for a token that never expires. */
  readonly endsIn?: number | null
  readonly userInfo?: UserInfo
}

const endOf = ({ clock }: Porthor, endsIn: number | null): Date | null =>
  endsIn === null ? null : new Date(Math.floor(clock.now().getTime() / 1000 + endsIn) * 1000)

/** A user token: the kind of parent that may expire at any time, or never. */
export function makeParent(h: Porthor, facts: ParentFacts = {}): Promise<TokenData> {
  const {
    username = `user-${randomUUID()}`,
    scopes = ['read:all', 'read:tap'],
    endsIn = 30 * 24 * LIFE,
    userInfo = NO_USER_INFO,
  } = facts
  return h.context.services.tokens.createUser(
    { actor: { kind: 'bootstrap' }, ipAddress: null },
    { username, tokenName: randomUUID(), scopes, expiresAt: endOf(h, endsIn), userInfo },
  )
}

/** Changes a token in both stores, as an edit by an admin leaves it. */
export async function editToken(
  h: Porthor,
  tokens: TokenStore,
  token: TokenData,
  { scopes = token.scopes, endsIn }: Pick<ParentFacts, 'scopes' | 'endsIn'>,
): Promise<TokenData> {
  const edited = {
    ...token,
    scopes: toScopes(scopes),
    expiresAt: endsIn === undefined ? token.expiresAt : endOf(h, endsIn),
  }
  await h.sql('UPDATE token SET scopes = $2, expires = $3 WHERE token = $1', [
    token.token.key,
    formatScopes(edited.scopes),
    edited.expiresAt && formatTimestamp(edited.expiresAt),
  ])
  await tokens.put(edited)
  return edited
}
