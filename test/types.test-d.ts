// What must not compile, and what must stay as it is. `npm run types` checks it; nothing here runs.
import { inspect } from 'node:util'
import { expectTypeOf } from 'vitest'
import type { Config } from '../src/config/config.ts'
import type { Actor } from '../src/domain/actor.ts'
import type { ChildRecord, DelegationRequest } from '../src/domain/delegation.ts'
import { type ErrorCode, PorthorError, UnavailableError } from '../src/domain/errors.ts'
import type {
  DelegatedTokenData,
  InternalTokenData,
  NotebookTokenData,
  RootTokenData,
  Token,
  TokenData,
  TokenKey,
  TokenSecret,
  TokenType,
} from '../src/domain/token.ts'
import { ERROR_STATUS } from '../src/http/error-status.ts'
import type { PostgresUrl } from '../src/lib/postgres-url.ts'
import { Secret } from '../src/lib/secret.ts'
import type { TokenStore } from '../src/stores/token-store/token-store.ts'

export function theHalvesOfATokenAreNotMixedUp(key: TokenKey, secret: TokenSecret, store: TokenStore): void {
  expectTypeOf<TokenKey>().toExtend<string>()
  expectTypeOf<TokenSecret>().toExtend<string>()
  expectTypeOf<TokenSecret>().not.toExtend<TokenKey>()
  expectTypeOf<TokenKey>().not.toExtend<TokenSecret>()
  expectTypeOf<string>().not.toExtend<TokenKey>()
  expectTypeOf<string>().not.toExtend<TokenSecret>()

  void store.find(key)
  // @ts-expect-error the private half names nothing
  void store.find(secret)
  // @ts-expect-error text from a client is not a key before it was parsed
  void store.find('q1w2e3r4t5y6u7i8o9p0aQ')
  // @ts-expect-error the halves are not interchangeable
  const swapped: Token = { key: secret, secret: key }
  void swapped
}

export function onlyInternalTokensHaveAService(data: TokenData, notebook: NotebookTokenData): void {
  expectTypeOf<Extract<TokenData, { service: unknown }>>().toEqualTypeOf<InternalTokenData>()
  expectTypeOf<Extract<DelegatedTokenData, { service: unknown }>['type']>().toEqualTypeOf<'internal'>()

  // @ts-expect-error not before its type is known
  void data.service
  // @ts-expect-error a notebook token is not lent to a service
  void notebook.service
  if (data.type === 'internal') expectTypeOf(data.service).toEqualTypeOf<string>()

  // @ts-expect-error a notebook token with a service cannot be written down
  const withService: NotebookTokenData = { ...notebook, service: 'tap' }
  // @ts-expect-error an internal token without one cannot either
  const without: InternalTokenData = { ...notebook, type: 'internal' }
  void [withService, without]
}

export function everyTypeOfTokenIsOneKindOfData(): void {
  expectTypeOf<TokenData['type']>().toEqualTypeOf<TokenType>()
  expectTypeOf<RootTokenData['type']>().toEqualTypeOf<'session' | 'user' | 'service' | 'oidc'>()
}

export function whatIsDelegatedEnds(child: NotebookTokenData, delegated: DelegatedTokenData): void {
  expectTypeOf(child.expiresAt).toEqualTypeOf<Date | null>()
  expectTypeOf(delegated.expiresAt).toEqualTypeOf<Date>()
  expectTypeOf<ChildRecord['expiresAt']>().toEqualTypeOf<Date>()
  // @ts-expect-error a child that may live for ever is not handed out
  const handedOut: DelegatedTokenData = child
  void handedOut
}

export function aNotebookRequestNamesNoScopes(): void {
  // @ts-expect-error it has all of its parent's
  const request: DelegationRequest = { type: 'notebook', scopes: ['read:all'] }
  // @ts-expect-error an internal one must say for which service
  const nobody: DelegationRequest = { type: 'internal', scopes: [] }
  void [request, nobody]
}

export function dataCannotBeChangedInPlace(data: TokenData, other: Token, config: Config): void {
  // @ts-expect-error
  data.expiresAt = null
  // @ts-expect-error
  data.scopes.push('admin:token')
  // @ts-expect-error
  data.token = other
  // @ts-expect-error
  config.port = 0
  // @ts-expect-error
  config.knownScopes.set('admin:token', '')
}

export function aSecretDoesNotConvert(secret: Secret, keys: Secret<readonly string[]>, config: Config): void {
  // @ts-expect-error only reveal() gives the value
  const text: string = secret
  // @ts-expect-error plain text does not become a secret by being passed on
  const hidden: Secret = 'hunter2'
  // @ts-expect-error of another kind
  const other: Secret = keys
  // @ts-expect-error not a list before it is revealed
  void keys.length
  // @ts-expect-error what looks the same is not one
  const lookalike: Secret = {
    reveal: () => '',
    toJSON: () => '',
    toString: () => '',
    [inspect.custom]: () => '',
  }
  void [text, hidden, other, lookalike]

  expectTypeOf(secret.reveal()).toEqualTypeOf<string>()
  expectTypeOf(new Secret(1).reveal()).toEqualTypeOf<number>()
  expectTypeOf(config.databaseUrl).toEqualTypeOf<Secret<PostgresUrl>>()
  expectTypeOf(config.bootstrapToken).toEqualTypeOf<Secret<Token> | undefined>()
}

export function errorsComeFromAClosedList(): void {
  expectTypeOf<PorthorError['code']>().toEqualTypeOf<ErrorCode>()
  expectTypeOf(ERROR_STATUS.UNAVAILABLE).toEqualTypeOf<503>()
  // @ts-expect-error no such code
  void new PorthorError('TEAPOT', '')
  // @ts-expect-error a masked failure is not an expected one
  void new PorthorError('INTERNAL_SERVER_ERROR', '')
  // @ts-expect-error no such store
  void new UnavailableError('memory', undefined)
}

export function theBootstrapTokenHasNoData(actor: Actor): void {
  // @ts-expect-error not before it is known to be a token of somebody
  void actor.data
  if (actor.kind === 'token') expectTypeOf(actor.data).toEqualTypeOf<TokenData>()
}
