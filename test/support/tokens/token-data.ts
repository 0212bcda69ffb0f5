import fc from 'fast-check'
import type { DelegationLimits } from '../../../src/domain/delegation.ts'
import { toScopes } from '../../../src/domain/scope.ts'
import {
  type InternalTokenData,
  NO_USER_INFO,
  type NotebookTokenData,
  type NumericId,
  type RootTokenData,
  type Token,
  type TokenData,
  type TokenKey,
  type TokenSecret,
  type UserInfo,
} from '../../../src/domain/token.ts'

/** The moment that tests of pure functions start from: a whole second. */
export const NOW = new Date('2026-01-01T00:00:00Z')

/** `seconds` after `NOW`, or before it where they are negative. */
export const at = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1000)

/** A token whose halves are `name`, filled up to their length, so that a failing test shows which it is. */
export const aToken = (name: string): Token => ({
  key: name.padEnd(22, '0') as TokenKey,
  secret: `${name}-secret`.padEnd(22, '0') as TokenSecret,
})

/** More than any test delegates. */
export const LIMITS: DelegationLimits = {
  undelegableScopes: new Set(),
  services: undefined,
  maxDepth: 50,
  maxChildren: 100_000,
}

const common = {
  username: 'wren',
  userInfo: NO_USER_INFO,
  scopes: toScopes(['read:all', 'user:token']),
  createdAt: NOW,
}

/** A session that lives for a day from `NOW`. */
export const aSession = (facts: Partial<RootTokenData> = {}): RootTokenData => ({
  ...common,
  token: aToken('parent'),
  type: 'session',
  expiresAt: at(86_400),
  ...facts,
})

/** A child that lives for 1,000 s from `NOW`. */
export const anInternalToken = (facts: Partial<InternalTokenData> = {}): InternalTokenData => ({
  ...common,
  token: aToken('child'),
  type: 'internal',
  service: 'tap',
  scopes: ['read:all'],
  expiresAt: at(1_000),
  ...facts,
})

/** A child that lives for 1,000 s from `NOW`. */
export const aNotebookToken = (facts: Partial<NotebookTokenData> = {}): NotebookTokenData => ({
  ...common,
  token: aToken('child'),
  type: 'notebook',
  expiresAt: at(1_000),
  ...facts,
})

const half = fc.stringMatching(/^[\w-]{22}$/)
const anyText = fc.string({ minLength: 1, maxLength: 64, unit: 'binary' })
/** In the form in which ids are kept: a number where it is exact. */
const exact = (id: bigint): NumericId => (Number.isSafeInteger(Number(id)) ? Number(id) : id)
const uid = fc.oneof(fc.integer({ min: 1 }), fc.bigInt({ min: 1n, max: 2n ** 70n }).map(exact))
const gid = fc.oneof(fc.maxSafeInteger(), fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(exact))

/** Any token of the right form. */
export const tokens: fc.Arbitrary<Token> = fc
  .tuple(half, half)
  .map(([key, secret]) => ({ key: key as TokenKey, secret: secret as TokenSecret }))

/** Any set of scope names, in the form in which sets of scopes are kept. */
export const scopeSets = fc.array(fc.stringMatching(/^[\w:.-]{1,12}$/), { maxLength: 6 }).map(toScopes)

const groups = fc.array(fc.record({ name: fc.stringMatching(/^[A-Za-z0-9][\w.-]{0,8}[a-z]$/), id: gid }), {
  maxLength: 4,
})

/** Any user information that a record may hold. */
export const userInfos: fc.Arbitrary<UserInfo> = fc.record({
  name: fc.option(anyText),
  email: fc.option(anyText),
  uid: fc.option(uid),
  gid: fc.option(uid),
  groups: fc.option(groups),
})

/**
 * Any token data that a store may hold, of every type.
 *
 * @param now No token has ended by then.
 */
export const tokenDataAt = (now: Date): fc.Arbitrary<TokenData> => {
  const since = (seconds: number) => new Date(Math.floor(now.getTime() / 1000 + seconds) * 1000)
  const facts = fc.record({
    token: tokens,
    username: fc.stringMatching(/^[a-z][a-z0-9]{0,30}[a-z]$/),
    userInfo: userInfos,
    scopes: scopeSets,
    createdAt: fc.integer({ min: -1e9, max: 0 }).map(since),
    expiresAt: fc.option(fc.integer({ min: 1, max: 1e9 }).map(since)),
  })
  const rootType = fc.constantFrom(...(['session', 'user', 'service', 'oidc', 'notebook'] as const))
  return fc.oneof(
    fc.tuple(facts, rootType).map(([data, type]) => ({ ...data, type })),
    fc.tuple(facts, anyText).map(([data, service]) => ({ ...data, type: 'internal' as const, service })),
  )
}
