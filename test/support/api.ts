import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest'
import type { Environment } from '../../src/config/config.ts'
import { formatScopes, toScopes } from '../../src/domain/scope.ts'
import {
  formatToken,
  generateToken,
  NO_USER_INFO,
  type TokenType,
  type UserInfo,
} from '../../src/domain/token.ts'
import { Fernet } from '../../src/lib/fernet.ts'
import { formatTimestamp } from '../../src/stores/database/timestamp.ts'
import { EncryptedRecords } from '../../src/stores/token-store/encrypted-records.ts'
import { type GraphQLAnswer, type Harness, openHarness, type StoreKind } from './harness.ts'

/** Level of pino's `error` lines. */
const ERROR_LEVEL = 50

export interface PlantedFacts {
  readonly type?: Exclude<TokenType, 'internal'>
  readonly username?: string
  readonly scopes?: readonly string[]
  readonly userInfo?: UserInfo
  /** In seconds from now; `null` for a token that never ends. */
  readonly endsIn?: number | null
  /** Leave the row out, as after a crash. */
  readonly isInDatabase?: boolean
}

/** A running Porthor as its clients see it. */
export interface Api {
  readonly h: Harness
  /** A token that another program left in both stores; answers with its bearer string. */
  plant(facts?: PlantedFacts): Promise<string>
  /** Says that the test means to cause an error in the log. */
  expectErrors(): void
}

/**
 * One Porthor for all tests of a file or `describe`. They share its clock too, so that a test may only move it
 * on, and judges times by it. A test in which something unexpected is logged fails.
 */
export function useApi(store: StoreKind, env: Environment = {}): Api {
  let h: Harness
  let firstLine = 0
  let areErrorsExpected = false
  beforeAll(async () => {
    h = await openHarness(store, env)
  })
  afterAll(() => h.close())
  beforeEach(() => {
    firstLine = h.logLines.length
    areErrorsExpected = false
  })
  afterEach(() => {
    const errors = h.logLines.slice(firstLine).filter(({ level }) => level >= ERROR_LEVEL)
    if (!areErrorsExpected) expect(errors).toEqual([])
  })
  return {
    get h() {
      return h
    },
    plant: (facts) => plant(h, store, facts),
    expectErrors: () => {
      areErrorsExpected = true
    },
  }
}

/** Puts a token into both stores behind Porthor's back. */
export async function plant(h: Harness, store: StoreKind, facts: PlantedFacts = {}): Promise<string> {
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

/** What an answer says under a root field. Throws, with its errors, where it says nothing. */
export function fieldOf<T extends object>({ data, errors }: GraphQLAnswer, field: string): T {
  const value = data?.[field]
  if (typeof value !== 'object' || value === null) throw new Error(`no ${field}: ${JSON.stringify(errors)}`)
  return value as T
}
