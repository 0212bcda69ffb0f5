import { type ConnectionOptions, openConnection, type TokenSource } from './connection.ts'
import { documents, type Operations } from './generated/operations.ts'

export type { ConnectionOptions, TokenSource } from './connection.ts'
export { type AnswerError, PorthorClientError, type PorthorClientErrorCode } from './error.ts'
export type {
  CreatedTokenFragment as CreatedToken,
  CreateServiceTokenInput,
  CreateSessionTokenInput,
  CreateUserTokenInput,
  DelegatedTokenFragment as DelegatedToken,
  DelegationSource,
  GroupInput,
  ModifyTokenInput,
  PosixGroupInput,
  RevokeTokensFilter,
  TokenChangeFilter,
  TokenChangeFragment as TokenChange,
  TokenInfoFragment as TokenInfo,
  TokenTreeFragment as TokenTree,
  TokenType,
  UserInfoFragment as UserInfo,
  UserInfoInput,
} from './generated/operations.ts'

/** Every method rejects with a `PorthorClientError`, or with an error of the function that returns the token. */
export interface PorthorClient extends Operations {
  /** Returns a client with another token and otherwise the same options. */
  withToken(token: TokenSource): PorthorClient
}

/**
 * Returns a typed client of Porthor's API, with one method for each operation.
 *
 * @throws {TypeError} for options that are not valid.
 * @example
 * const porthor = createPorthorClient({ url: 'https://porthor.example.org/graphql', token })
 * const { token: delegated } = await porthor.internalToken({ service: 'image-cutouts', scopes: ['read:all'] })
 */
export function createPorthorClient(options: ConnectionOptions): PorthorClient {
  const send = openConnection(options)
  const methods = Object.entries(documents).map(([name, document]) => [
    name,
    (variables?: object) => send(name, document, variables),
  ])
  return {
    ...(Object.fromEntries(methods) as Operations),
    withToken: (token) => createPorthorClient({ ...options, token }),
  }
}
