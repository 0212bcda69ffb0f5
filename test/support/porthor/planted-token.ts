import { formatScopes, toScopes } from '../../../src/domain/scope.ts'
import {
  formatToken,
  generateToken,
  NO_USER_INFO,
  type TokenType,
  type UserInfo,
} from '../../../src/domain/token.ts'
import { Fernet } from '../../../src/lib/fernet.ts'
import { formatTimestamp } from '../../../src/stores/database/timestamp.ts'
import { EncryptedRecords } from '../../../src/stores/token-store/encrypted-records.ts'
import type { Porthor, StoreKind } from './porthor.ts'

export interface PlantedFacts {
  readonly type?: Exclude<TokenType, 'internal'>
  readonly username?: string
  readonly scopes?: readonly string[]
  readonly userInfo?: UserInfo
  /** In seconds from now; `null` for a token that never expires. */
  readonly endsIn?: number | null
  /** Leave the row out, as after a crash. */
  readonly isInDatabase?: boolean
}

/** Puts a token into both stores behind Porthor's back. */
export async function plant(h: Porthor, store: StoreKind, facts: PlantedFacts = {}): Promise<string> {
  const { type = 'user', username = 'wren', scopes = [], endsIn = null, isInDatabase = true } = facts
  const { userInfo = NO_USER_INFO } = facts
  const now = h.clock.now()
  const expiresAt = endsIn === null ? null : new Date(now.getTime() + endsIn * 1000)
  const token = generateToken()
  const names = toScopes(scopes)
  const expires = expiresAt && formatTimestamp(expiresAt)
  if (isInDatabase) {
    await h.sql(
      `INSERT INTO token (token, username, token_type, scopes, created, expires)
       VALUES ($1, $2, $3::tokentype, $4, $5, $6)`,
      [token.key, username, type, formatScopes(names), formatTimestamp(now), expires],
    )
  }
  const fernet = new Fernet((h.env.SESSION_SECRET ?? '').split(','))
  const encrypted = new EncryptedRecords({ fernet, clock: h.clock, log: h.context.log }).encrypt({
    token,
    type,
    username,
    scopes: names,
    userInfo,
    createdAt: now,
    expiresAt,
  })
  if (store === 'redis') await h.redis.set(`token:${token.key}`, encrypted)
  else
    await h.sql('INSERT INTO porthor_token_store (token, value, expires) VALUES ($1, $2, $3)', [
      token.key,
      encrypted,
      expires,
    ])
  return formatToken(token)
}
